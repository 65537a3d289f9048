#include "dataplane/io/shared_memory.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "dataplane/io/test_directory.h"

namespace stoa::io {
namespace {

constexpr size_t kBytes = size_t{64} << 10;

TEST(SharedMemory, is_zeroed_private_and_of_the_asked_size) {
    const TestDirectory directory;
    const auto memory = open_shared_memory(directory.file("ring"), kBytes);
    ASSERT_TRUE(memory.ok()) << memory.error().message();
    EXPECT_EQ((*memory)->bytes().size(), kBytes);
    EXPECT_TRUE(is_zero((*memory)->bytes()));
    struct stat status{};
    ASSERT_EQ(stat(directory.file("ring").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777U, 0600U);
    EXPECT_EQ(status.st_size, static_cast<off_t>(kBytes));
}

TEST(SharedMemory, persists_over_close_and_reopen) {
    const TestDirectory directory;
    for (int generation = 0; generation < 3; ++generation) {
        auto memory = open_shared_memory(directory.file("ring"), kBytes);
        ASSERT_TRUE(memory.ok()) << memory.error().message();
        std::byte& first = (*memory)->bytes().front();
        std::byte& last = (*memory)->bytes().back();
        EXPECT_EQ(first, static_cast<std::byte>(generation));
        EXPECT_EQ(last, static_cast<std::byte>(generation));
        first = last = static_cast<std::byte>(generation + 1);
    }
}

TEST(SharedMemory, of_another_size_is_replaced_by_a_zeroed_one) {
    const TestDirectory directory;
    for (const size_t size_bytes : {kBytes, 2 * kBytes, kBytes / 2}) {
        auto memory = open_shared_memory(directory.file("ring"), size_bytes);
        ASSERT_TRUE(memory.ok()) << memory.error().message();
        EXPECT_EQ((*memory)->bytes().size(), size_bytes);
        EXPECT_TRUE(is_zero((*memory)->bytes()));
        (*memory)->bytes().front() = std::byte{7};
    }
}

TEST(SharedMemory, a_mapping_of_the_replaced_file_stays_usable) {
    const TestDirectory directory;
    auto old_one = open_shared_memory(directory.file("ring"), 2 * kBytes);
    ASSERT_TRUE(old_one.ok());
    auto new_one = open_shared_memory(directory.file("ring"), kBytes);
    ASSERT_TRUE(new_one.ok());
    (*old_one)->bytes().back() = std::byte{1};
    EXPECT_TRUE(is_zero((*new_one)->bytes()));
}

TEST(SharedMemory, names_the_path_and_the_reason_when_it_cannot) {
    const TestDirectory directory;
    auto memory = open_shared_memory(directory.file("missing/ring"), kBytes);
    ASSERT_FALSE(memory.ok());
    EXPECT_EQ(memory.error().code(), ErrorCode::io);
    EXPECT_EQ(memory.error().system_errno(), ENOENT);
    EXPECT_EQ(memory.error().message(), "shared memory " + directory.file("missing/ring") +
                                            ": cannot open: no such file or directory");

    std::filesystem::create_symlink(directory.file("elsewhere"), directory.file("link"));
    EXPECT_FALSE(open_shared_memory(directory.file("link"), kBytes).ok());
    EXPECT_FALSE(std::filesystem::exists(directory.file("elsewhere")));
}

TEST(SharedMemory, what_others_may_write_is_not_taken) {
    const TestDirectory directory;
    const std::string path = directory.file("ring");
    ASSERT_TRUE(open_shared_memory(path, kBytes).ok());
    for (const mode_t mode : {0620U, 0602U}) {
        ASSERT_EQ(chmod(path.c_str(), mode), 0);
        auto memory = open_shared_memory(path, kBytes);
        ASSERT_FALSE(memory.ok());
        EXPECT_TRUE(memory.error().message().contains("somebody else"));
    }
    ASSERT_EQ(chmod(path.c_str(), 0600), 0);
    EXPECT_TRUE(open_shared_memory(path, kBytes).ok());
    if (geteuid() != 0) GTEST_SKIP() << "only root gives files away";
    ASSERT_EQ(chown(path.c_str(), 12345, 12345), 0);
    EXPECT_FALSE(open_shared_memory(path, kBytes).ok());
}

TEST(SharedMemory, memory_that_the_file_system_lacks_is_an_error_at_opening) {
    const TestDirectory directory;
    auto memory = open_shared_memory(directory.file("ring"), size_t{1} << 45);
    ASSERT_FALSE(memory.ok());
    EXPECT_EQ(memory.error().code(), ErrorCode::io);
    EXPECT_FALSE(std::filesystem::exists(directory.file("ring")));
}

}  // namespace
}  // namespace stoa::io
