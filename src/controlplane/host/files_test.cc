#include "controlplane/host/files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>

#include "base/check.h"
#include "controlplane/host/clock.h"
#include "controlplane/host/instance.h"
#include "controlplane/host/peer.h"
#include "controlplane/host/random.h"

using namespace stoa;
using namespace stoa::host;

namespace {

class FilesTest : public testing::Test {
protected:
    FilesTest() {
        const char* parent = std::getenv("TMPDIR");
        path_ = std::string(parent != nullptr ? parent : "/tmp") + "/stoa-files-XXXXXX";
        CHECK(mkdtemp(path_.data()) != nullptr);
    }
    ~FilesTest() override {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }
    static uint32_t mode_of(const std::string& path) {
        struct stat there{};
        return ::stat(path.c_str(), &there) == 0 ? there.st_mode & 07777U : 0;
    }

    std::string path_;
};

}  // namespace

TEST_F(FilesTest, a_replaced_file_has_content_mode_and_no_leftover) {
    ASSERT_TRUE(replace_file(file("a"), "one").ok());
    EXPECT_EQ(mode_of(file("a")), 0600U);
    // A leftover of a crash, even as a link to something else, is in nobody's way.
    std::filesystem::create_symlink("/etc/passwd", file("a.new"));
    ASSERT_TRUE(replace_file(file("a"), "two", {.mode = 0640, .durable = false}).ok());
    EXPECT_EQ(*read_file(file("a"), 100), "two");
    EXPECT_EQ(mode_of(file("a")), 0640U);
    EXPECT_EQ(*list_directory(path_), std::vector<std::string>{"a"});
    EXPECT_EQ(replace_file(file("no/a"), "x").error().code(), ErrorCode::not_found);
}

TEST_F(FilesTest, reading_has_a_limit_and_says_what_is_missing) {
    ASSERT_TRUE(replace_file(file("a"), "12345").ok());
    EXPECT_TRUE(read_file(file("a"), 5).ok());
    EXPECT_EQ(read_file(file("a"), 4).error().code(), ErrorCode::out_of_range);
    const auto missing = read_file(file("b"), 4);
    EXPECT_EQ(missing.error().code(), ErrorCode::not_found);
    EXPECT_EQ(missing.error().message(),
              "file " + file("b") + ": cannot open: no such file or directory");
    EXPECT_TRUE(read_file("/proc/self/stat", 65536).ok());
}

TEST_F(FilesTest, trees_are_removed_but_not_what_links_in_them_mean) {
    ASSERT_TRUE(make_directories(file("keep")).ok());
    ASSERT_TRUE(replace_file(file("keep/precious"), "x").ok());
    ASSERT_TRUE(make_directories(file("tree/a/b/c")).ok());
    ASSERT_TRUE(replace_file(file("tree/a/f"), "x").ok());
    std::filesystem::create_symlink(file("keep"), file("tree/a/link"));
    ASSERT_TRUE(remove_tree(file("tree")).ok());
    EXPECT_FALSE(std::filesystem::exists(file("tree")));
    EXPECT_TRUE(std::filesystem::exists(file("keep/precious")));
    EXPECT_TRUE(remove_tree(file("tree")).ok());
    // A link itself is removed, not followed.
    std::filesystem::create_directory_symlink(file("keep"), file("tree"));
    ASSERT_TRUE(remove_tree(file("tree")).ok());
    EXPECT_TRUE(std::filesystem::exists(file("keep/precious")));
}

TEST_F(FilesTest, a_tree_that_is_too_deep_is_refused_not_overrun) {
    std::string path = file("deep");
    for (int i = 0; i < 70; ++i) path += "/d";
    ASSERT_TRUE(make_directories(path).ok());
    EXPECT_EQ(remove_tree(file("deep")).error().code(), ErrorCode::out_of_range);
}

TEST_F(FilesTest, a_directory_that_others_may_write_is_refused) {
    ASSERT_TRUE(make_private_directory(file("run"), 0711).ok());
    EXPECT_EQ(mode_of(file("run")), 0711U);
    EXPECT_TRUE(check_private_directory(file("run")).ok());
    ASSERT_EQ(::chmod(file("run").c_str(), 0777), 0);
    EXPECT_EQ(check_private_directory(file("run")).error().code(), ErrorCode::denied);
    ASSERT_TRUE(make_private_directory(file("run"), 0700).ok());  // corrected
    EXPECT_EQ(mode_of(file("run")), 0700U);
    std::filesystem::create_directory_symlink(file("run"), file("link"));
    EXPECT_FALSE(make_private_directory(file("link"), 0700).ok());
    EXPECT_FALSE(check_private_directory(file("link")).ok());
    if (::geteuid() != 0) GTEST_SKIP() << "the rest needs root";
    ASSERT_EQ(::chown(file("run").c_str(), 61234, 61234), 0);
    EXPECT_EQ(make_private_directory(file("run"), 0700).error().code(), ErrorCode::denied);
    EXPECT_EQ(check_private_directory(file("run")).error().code(), ErrorCode::denied);
    EXPECT_TRUE(make_private_directory(file("run"), 0700, FileOwner{61234, 61234}).ok());
    ASSERT_TRUE(make_private_directory(file("vm"), 0700, FileOwner{61234, 61235}).ok());
    struct stat there{};
    ASSERT_EQ(::stat(file("vm").c_str(), &there), 0);
    EXPECT_EQ(there.st_gid, 61235U);
}

TEST_F(FilesTest, who_holds_a_lock_is_named) {
    auto lock = lock_file(file("lock"));
    ASSERT_TRUE(lock.ok());
    const auto second = lock_file(file("lock"));
    ASSERT_FALSE(second.ok());
    EXPECT_EQ(second.error().code(), ErrorCode::busy);
    EXPECT_NE(second.error().message().find("process " + std::to_string(::getpid()) + " ("),
              std::string::npos)
        << second.error().message();
    lock->close();
    EXPECT_TRUE(lock_file(file("lock")).ok());
}

TEST_F(FilesTest, space_is_told_of_the_nearest_parent) {
    const auto here = space_of(path_);
    ASSERT_TRUE(here.ok());
    EXPECT_GT(here->total_bytes, 0U);
    EXPECT_EQ(space_of(file("not/yet/there"))->total_bytes, here->total_bytes);
    EXPECT_FALSE(is_on_tmpfs("/proc"));
}

TEST_F(FilesTest, settings_are_not_created) {
    EXPECT_EQ(write_setting(file("setting"), "1").error().code(), ErrorCode::not_found);
    EXPECT_FALSE(std::filesystem::exists(file("setting")));
}

TEST_F(FilesTest, the_instance_is_what_blockd_drew_and_stays) {
    const std::string root = file("root");
    ASSERT_TRUE(make_directories(root + "/blockd").ok());
    const auto early = instance_id(root);
    EXPECT_EQ(early.error().code(), ErrorCode::not_found);
    EXPECT_NE(early.error().message().find("stoa-blockd --root " + root), std::string::npos);
    ASSERT_TRUE(replace_file(root + "/blockd/state.json", "{\"instance\": \"../../etc\"}").ok());
    EXPECT_EQ(instance_id(root).error().code(), ErrorCode::corrupt);
    ASSERT_TRUE(replace_file(root + "/blockd/state.json",
                             "{\"version\": 1, \"instance\": \"1a2b3c4d\", \"pools\": []}")
                    .ok());
    EXPECT_EQ(*instance_id(root), "1a2b3c4d");
    // Lost and drawn anew: what runs keeps its names.
    ASSERT_TRUE(replace_file(root + "/blockd/state.json", "{\"instance\": \"ffffffff\"}").ok());
    EXPECT_EQ(*instance_id(root), "1a2b3c4d");
    ASSERT_TRUE(replace_file(root + "/stoad/instance", "else").ok());
    EXPECT_EQ(instance_id(root).error().code(), ErrorCode::corrupt);
}

TEST_F(FilesTest, an_instance_opens_once_in_private_places) {
    const std::string root = file("root");
    const std::string id = "7e57" + std::to_string(::getpid() % 9000 + 1000);
    ASSERT_TRUE(make_directories(root + "/blockd").ok());
    ASSERT_TRUE(replace_file(root + "/blockd/state.json", "{\"instance\": \"" + id + "\"}").ok());
    {
        const auto instance = Instance::open(root + "/");
        ASSERT_TRUE(instance.ok()) << instance.error().message();
        EXPECT_EQ(instance->root(), root);
        EXPECT_EQ(instance->id(), id);
        EXPECT_TRUE(instance->runtime().ends_with("/" + id));
        EXPECT_EQ(mode_of(instance->runtime() + "/vm"), ::geteuid() == 0 ? 0711U : 0700U);
        EXPECT_EQ(*instance->socket_path("stoad.sock"), instance->runtime() + "/stoad.sock");
        EXPECT_EQ(instance->socket_path(std::string(100, 'x')).error().code(),
                  ErrorCode::invalid_argument);
        EXPECT_EQ(instance->state_path("state.db"), root + "/stoad/state.db");
        const auto second = Instance::open(root);
        EXPECT_EQ(second.error().code(), ErrorCode::busy);
        EXPECT_NE(second.error().message().find(std::to_string(::getpid())), std::string::npos);
    }
    const auto again = Instance::open(root);
    ASSERT_TRUE(again.ok());
    ASSERT_TRUE(remove_tree(again->runtime()).ok());
    ASSERT_EQ(::chmod(root.c_str(), 0777), 0);
    const auto open_to_all = Instance::open(root);
    EXPECT_EQ(open_to_all.error().code(), ErrorCode::denied);
}

TEST(Instance, runtime_directories_follow_the_user) {
    EXPECT_EQ(runtime_directory("1a2b3c4d", 0, "/run/user/0"), "/run/stoa/1a2b3c4d");
    EXPECT_EQ(runtime_directory("1a2b3c4d", 1000, "/run/user/1000"),
              "/run/user/1000/stoa/1a2b3c4d");
    EXPECT_EQ(runtime_directory("1a2b3c4d", 1000, ""), "/tmp/stoa-1000/1a2b3c4d");
    EXPECT_TRUE(check_socket_path(std::string(107, 'x')).ok());
    EXPECT_FALSE(check_socket_path(std::string(108, 'x')).ok());
    EXPECT_FALSE(is_instance_id("1A2B3C4D"));
    EXPECT_FALSE(is_instance_id("1a2b3c4"));
}

TEST(Peer, the_other_end_of_a_socket_is_known) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    const Descriptor one(ends[0]);
    const Descriptor other(ends[1]);
    const auto peer = peer_of(one.get());
    ASSERT_TRUE(peer.ok());
    EXPECT_EQ(peer->pid, ::getpid());
    EXPECT_EQ(peer->uid, own_uid());
    EXPECT_EQ(peer->gid, own_gid());
    const Descriptor file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    EXPECT_FALSE(peer_of(file.get()).ok());
    const Descriptor inet(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_FALSE(peer_of(inet.get()).ok());
}

TEST(Peer, membership_is_read_from_the_user_database) {
    EXPECT_TRUE(is_member(0, 0, "root"));
    EXPECT_FALSE(is_member(65534, 65534, "root"));
    EXPECT_FALSE(is_member(0, 0, "no-such-group-here"));
    EXPECT_FALSE(is_member(4'000'000'000, 4'000'000'000, "root"));
    EXPECT_TRUE(is_member(4'000'000'000, 0, "root"));  // by its primary group
    EXPECT_EQ(find_group("root"), 0U);
    EXPECT_EQ(user_name(0), "root");
    EXPECT_EQ(user_name(4'000'000'000), "uid 4000000000");
}

TEST(Clock, goes_on_and_the_test_clock_stands_still) {
    const SystemClock clock;
    const int64_t before_ns = clock.monotonic_ns();
    EXPECT_GE(clock.monotonic_ns(), before_ns);
    EXPECT_GT(clock.wall_ns(), int64_t{1'700'000'000} * 1'000'000'000);
    TestClock test;
    const int64_t wall_ns = test.wall_ns();
    test.advance_ns(5);
    EXPECT_EQ(test.wall_ns(), wall_ns + 5);
}

TEST(Random, the_kernels_differs_and_the_seeded_one_repeats_itself) {
    SystemRandom system;
    EXPECT_NE(system.next(), system.next());
    SeededRandom one(7);
    SeededRandom same(7);
    SeededRandom other(8);
    std::array<std::byte, 13> bytes{};
    std::array<std::byte, 13> again{};
    one.fill(bytes);
    same.fill(again);
    EXPECT_EQ(bytes, again);
    EXPECT_EQ(one.next(), same.next());
    EXPECT_NE(one.next(), other.next());
}
