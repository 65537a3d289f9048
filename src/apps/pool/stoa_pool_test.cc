// stoa-pool as its users meet it: commands, output, exit codes. The program is started as
// $STOA_PROGRAM.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>

#include "apps/pool/commands.h"
#include "apps/pool/json.h"
#include "apps/pool/size.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "dataplane/pool/fsck/test_pool.h"

namespace stoa::apps::pool {
namespace {

using fsck::test::Family;
using fsck::test::TestPool;

class StoaPool : public testing::Test {
protected:
    void SetUp() override {
        const char* program = std::getenv("STOA_PROGRAM");
        if (program == nullptr) GTEST_SKIP() << "STOA_PROGRAM does not name the program";
        program_ = program;
        std::string pattern = (std::filesystem::temp_directory_path() / "stoa-pool-XXXXXX");
        ASSERT_NE(mkdtemp(pattern.data()), nullptr);
        folder_ = pattern;
        pool_.put_objects(put_family(pool_).objects, 9);
        pool_.seal();
    }
    void TearDown() override {
        if (!folder_.empty()) std::filesystem::remove_all(folder_);
    }

    // Writes the device to a file and returns its path.
    std::string disk() {
        const auto path = folder_ / "disk0";
        const auto& bytes = pool_.devices[0].bytes;
        std::ofstream(path, std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes.data()),
                   static_cast<std::streamsize>(bytes.size()));
        return path;
    }

    // Runs the program; its output (both streams) is in `output_`.
    int run(const std::string& arguments) {
        output_.clear();
        FILE* pipe = popen((program_ + " " + arguments + " 2>&1").c_str(), "r");
        if (pipe == nullptr) return -1;
        std::array<char, 4096> buffer;
        while (const size_t got = fread(buffer.data(), 1, buffer.size(), pipe)) {
            output_.append(buffer.data(), got);
        }
        const int status = pclose(pipe);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }

    std::string program_;
    std::filesystem::path folder_;
    TestPool pool_;
    std::string output_;
};

TEST_F(StoaPool, fsck_of_a_sound_pool) {
    EXPECT_EQ(run("fsck --data " + disk()), kOk);
    EXPECT_EQ(output_,
              "pool \"tank\" (a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf), generation 4, not closed\n"
              "2 volumes, 1 snapshot, 0 being reclaimed, 1 damage range\n"
              "4 data blocks, 12 nodes, 17 blocks allocated, 0 bad, 0 leaked\n"
              "5 blocks read and verified\n"
              "no problems\n");
    EXPECT_EQ(run("fsck --json " + disk()), kOk);
    EXPECT_NE(output_.find("\"problem_count\":0,\"problems\":[],"), std::string::npos) << output_;
}

TEST_F(StoaPool, fsck_tells_repairable_from_lost) {
    pool_.damage(0, TestPool::kLabels[1]);
    EXPECT_EQ(run("fsck " + disk()), kRepairable);
    EXPECT_NE(output_.find("0 problems, 1 repairable\n"), std::string::npos) << output_;
    pool_.damage(0, TestPool::position(64 + 2));
    EXPECT_EQ(run("fsck " + disk()), kProblems);
    EXPECT_EQ(run("fsck --online " + disk()), kProblems);
    EXPECT_NE(output_.find("note: the pool was checked while in use"), std::string::npos);
}

TEST_F(StoaPool, fsck_refuses_a_pool_in_use) {
    const std::string path = disk();
    const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
    struct flock lock = {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    ASSERT_EQ(fcntl(fd, F_OFD_SETLK, &lock), 0);
    EXPECT_EQ(run("fsck " + path), kInUse);
    EXPECT_EQ(output_, "stoa-pool: " + path +
                           ": another process has the pool open; stop it, or use --online to look "
                           "without stopping it\n");
    EXPECT_EQ(run("fsck --online " + path), kOk);
    close(fd);
}

TEST_F(StoaPool, what_is_no_pool_is_told) {
    const auto path = folder_ / "empty";
    std::ofstream(path).close();
    std::filesystem::resize_file(path, 1 << 20);
    EXPECT_EQ(run("fsck " + path.string()), kNotAPool);
    EXPECT_EQ(output_, "problem: device " + path.string() + ": not of a pool: label no magic\n");
    EXPECT_EQ(run("dump " + path.string()), kNotAPool);
    EXPECT_EQ(run("fsck " + (folder_ / "none").string()), kFailed);
    EXPECT_EQ(output_, "stoa-pool: " + (folder_ / "none").string() +
                           ": cannot open: No such file or directory\n");
    EXPECT_EQ(run("fsck " + folder_.string()), kFailed);
    EXPECT_EQ(run("fsck"), kFailed);
    EXPECT_EQ(run(""), kFailed);
    EXPECT_EQ(run("--help"), kOk);
}

TEST_F(StoaPool, dump_has_a_line_for_every_structure_and_no_user_data) {
    EXPECT_EQ(run("dump --nodes " + disk()), kOk);
    size_t nodes = 0;
    for (size_t at = 0; (at = output_.find("{\"type\":\"node\"", at)) != std::string::npos; ++at) {
        ++nodes;
    }
    EXPECT_EQ(nodes, 12u);
    for (const char* part :
         {"{\"type\":\"label\",", "{\"type\":\"superblock\",\"chosen\":true,\"generation\":4,",
          "{\"type\":\"region\",\"number\":3,\"state\":1,\"class\":1,", "\"name\":\"monday\"",
          "{\"type\":\"journal\",\"cut\":37,\"proven\":20}"}) {
        EXPECT_NE(output_.find(part), std::string::npos) << part << "\n" << output_;
    }
}

TEST_F(StoaPool, create_info_and_explain_work_on_new_files) {
    const std::string one = folder_ / "one";
    const std::string two = folder_ / "two";
    ASSERT_EQ(run("create --name tank --size 1G " + one + " " + two), kOk) << output_;
    EXPECT_EQ(output_, "pool tank made on " + one + ", " + two + "\n");
    EXPECT_EQ(run("fsck --data " + two + " " + one), kOk) << output_;
    EXPECT_EQ(run("info " + one + " " + two), kOk) << output_;
    EXPECT_EQ(output_.find("pool        tank ("), 0u) << output_;
    EXPECT_EQ(run("explain --volume none --offset 4K " + one + " " + two), kFailed);
    EXPECT_EQ(run("create --name tank " + one), kFailed);
    EXPECT_EQ(run("create --name tank --size 1G " + one), kFailed);
    EXPECT_EQ(output_, "stoa-pool: " + one + ": exists; leave out --size to use it as it is\n");
    EXPECT_EQ(run("create --name tank --force " + one), kOk) << output_;
    const std::string tiny = folder_ / "tiny";
    EXPECT_EQ(run("create --name tank --size 64K " + tiny), kFailed);
    EXPECT_FALSE(std::filesystem::exists(tiny));
}

TEST_F(StoaPool, a_device_given_twice_is_named_at_once) {
    const std::string one = folder_ / "one";
    const std::string two = folder_ / "two";
    const std::string link = folder_ / "link";
    EXPECT_EQ(run("create --name tank --size 1G " + one + " " + two + " " + one), kFailed);
    EXPECT_EQ(output_, "stoa-pool: device " + one + " is given twice\n");
    EXPECT_FALSE(std::filesystem::exists(one));
    std::ofstream(one).close();
    std::filesystem::resize_file(one, 64 << 20);
    std::filesystem::create_symlink(one, link);
    const std::string same =
        "stoa-pool: devices " + one + " and " + link + " are the same: give it once\n";
    const std::string both = one + " " + link;
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(run("create --name tank --force " + one + " " + link), kFailed);
    EXPECT_EQ(output_, same);
    for (const char* command : {"info ", "fsck ", "dump "}) {
        EXPECT_EQ(run(command + both), kFailed);
        EXPECT_EQ(output_, same);
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(4));
}

TEST_F(StoaPool, data_of_others_is_named_and_does_not_come_back) {
    const std::string one = folder_ / "one";
    const std::string two = folder_ / "two";
    for (const std::string& path : {one, two}) {
        std::ofstream(path).close();
        std::filesystem::resize_file(path, 256 << 20);
    }
    ASSERT_EQ(std::system(("mkswap " + two + " >/dev/null 2>&1").c_str()), 0);
    const std::string create = "create --name tank " + one + " " + two;
    EXPECT_EQ(run(create), kFailed);
    EXPECT_EQ(output_,
              "stoa-pool: device " + two + " bears swap; force the creation to overwrite it\n");
    EXPECT_EQ(run(create + " --force"), kOk) << output_;
    EXPECT_EQ(run("fsck " + two + " " + one), kOk) << output_;
    // Nothing that others find is left.
    EXPECT_EQ(std::system(("blkid -p " + two + " >/dev/null").c_str()) / 256, 2);
}

TEST_F(StoaPool, output_that_is_not_taken_is_a_failure) {
    const std::string one = folder_ / "one";
    ASSERT_EQ(run("create --name tank --size 1G " + one), kOk) << output_;
    for (const std::string& command :
         {"fsck " + disk(), "dump --nodes " + disk(), "info --json " + one, std::string("--help"),
          std::string("--version"), std::string("info --help")}) {
        // The "#" takes away what run() appends.
        EXPECT_EQ(run(command + " 2>&1 >/dev/full #"), kFailed) << command;
        EXPECT_EQ(output_, "stoa-pool: the output cannot be written\n");
    }
    EXPECT_EQ(run("info " + (folder_ / "none").string() + " 2>/dev/full #"), kFailed);
    EXPECT_EQ(run("--version"), kOk);
    EXPECT_EQ(output_.find("stoa-pool "), 0U) << output_;
}

TEST_F(StoaPool, a_pool_is_shown_without_a_device_if_asked_for) {
    const std::string one = folder_ / "one";
    const std::string two = folder_ / "two";
    ASSERT_EQ(run("create --name tank --size 1G " + one + " " + two), kOk) << output_;
    EXPECT_EQ(run("info " + two), kFailed);
    EXPECT_EQ(output_.find("stoa-pool: device 0 ("), 0U) << output_;
    EXPECT_NE(output_.find(") of pool 'tank' is missing; give it, or open the pool without it\n"),
              std::string::npos)
        << output_;
    EXPECT_EQ(run("info --accept-missing-devices " + two), kOk) << output_;
    EXPECT_NE(output_.find("\ndevice      0 is missing ("), std::string::npos) << output_;
    EXPECT_NE(output_.find("\ndevice      " + two + " ("), std::string::npos) << output_;
    EXPECT_NE(output_.find(" on missing devices"), std::string::npos) << output_;
    EXPECT_EQ(run("info --json --accept-missing-devices " + two), kOk) << output_;
    EXPECT_NE(output_.find("\"name\":\"\",\"size_bytes\":0,\"missing\":true}"), std::string::npos)
        << output_;
    // Nothing was written: the other one is no stranger.
    EXPECT_EQ(run("info " + one + " " + two), kOk) << output_;
    EXPECT_EQ(output_.find("missing"), std::string::npos) << output_;
    EXPECT_EQ(run("explain --volume none --offset 0 --accept-missing-devices " + two), kFailed);
    EXPECT_NE(output_.find("none"), std::string::npos) << output_;
}

TEST_F(StoaPool, names_from_a_disk_do_not_act_on_the_terminal) {
    const std::string one = folder_ / "one";
    ASSERT_EQ(run("create --name tank --size 1G " + one), kOk) << output_;
    std::fstream file(one, std::ios::in | std::ios::out | std::ios::binary);
    std::array<char, 4096> block{};
    file.read(block.data(), block.size());
    const auto label = std::as_writable_bytes(std::span(block));
    std::memcpy(block.data() + 128, "t\x1B[1m", 5);
    store_le<uint32_t>(label.data() + 8, 0);
    store_le(label.data() + 8, crc32c(label));
    file.seekp(0);
    file.write(block.data(), block.size());
    file.close();
    EXPECT_EQ(run("info " + one), kOk) << output_;
    EXPECT_EQ(output_.find("pool        t?[1m ("), 0U) << output_;
}

TEST(Size, is_bytes_or_a_number_with_a_suffix) {
    EXPECT_EQ(*parse_size("0"), 0u);
    EXPECT_EQ(*parse_size("4096"), 4096u);
    EXPECT_EQ(*parse_size("3k"), 3072u);
    EXPECT_EQ(*parse_size("16T"), uint64_t{16} << 40);
    EXPECT_EQ(*parse_size("16777215T"), uint64_t{16777215} << 40);
    for (const char* wrong : {"", "K", "-1", "1.5G", "1GB", "1 G", "16777216T", "0x10"}) {
        EXPECT_FALSE(parse_size(wrong).ok()) << wrong;
    }
    EXPECT_EQ(format_size(512), "512 B");
    EXPECT_EQ(format_size(1536), "1.5 KiB");
    EXPECT_EQ(format_size(uint64_t{3} << 40), "3.0 TiB");
}

TEST(Json, quotes_what_is_not_text) {
    EXPECT_EQ(JsonObject::quote("a\"b\\c\n"), R"("a\"b\\c\u000a")");
    EXPECT_EQ(JsonObject::quote("\xFF"), R"("\u00ff")");
    EXPECT_EQ(JsonObject::quote("ü"), "\"ü\"");
}

}  // namespace
}  // namespace stoa::apps::pool
