// On real files: what a request does, and what it answers when the system cannot.
#include "dataplane/io/device_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/io/test_directory.h"
#include "dataplane/io/test_file_system.h"

namespace stoa::io {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

class DeviceFileTest : public testing::Test {
protected:
    static std::unique_ptr<Reactor> make_reactor() {
        auto reactor = Reactor::create();
        CHECK(reactor.ok());
        return *std::move(reactor);
    }
    std::unique_ptr<DeviceFile> open(const std::string& path, const DeviceFileOptions& options) {
        auto device = DeviceFile::open(*reactor_, path, options);
        if (!device.ok()) {
            ADD_FAILURE() << device.error().message();
            std::abort();
        }
        return *std::move(device);
    }
    Error failure(const std::string& path, const DeviceFileOptions& options) {
        auto device = DeviceFile::open(*reactor_, path, options);
        if (!device.ok()) return device.take_error();
        ADD_FAILURE() << path << " opened";
        return {ErrorCode::io, "none"};
    }

    const TestDirectory directory_;
    const std::unique_ptr<Reactor> reactor_ = make_reactor();
};

Task<int> read(Device& device, uint64_t offset_bytes, MutableBytes into) {
    co_return co_await device.read(offset_bytes, into);
}
Task<int> write(Device& device, uint64_t offset_bytes, ConstBytes from) {
    co_return co_await device.write(offset_bytes, from);
}
Task<int> flush(Device& device) { co_return co_await device.flush(); }
Task<int> discard(Device& device, uint64_t offset_bytes, uint64_t length_bytes) {
    co_return co_await device.discard(offset_bytes, length_bytes);
}

AlignedBuffer pattern(size_t size_bytes, unsigned seed = 1) {
    AlignedBuffer buffer(size_bytes);
    for (std::byte& byte : buffer.bytes()) {
        seed = seed * 1664525U + 1013904223U;
        byte = static_cast<std::byte>(seed >> 24U);
    }
    return buffer;
}

TEST_F(DeviceFileTest, creates_a_sparse_private_file_once) {
    const std::string path = directory_.file("disk");
    const DeviceFileOptions create{.create = true, .size_bytes = 64 * kMiB};
    {
        const auto device = open(path, create);
        EXPECT_EQ(device->size_bytes(), 64 * kMiB);
        EXPECT_EQ(device->name(), path);
        EXPECT_FALSE(device->is_block_device());
    }
    struct stat status{};
    ASSERT_EQ(stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777U, 0600U);
    EXPECT_LT(status.st_blocks * 512, static_cast<blkcnt_t>(kMiB));
    const Error error = failure(path, create);
    EXPECT_EQ(error.code(), ErrorCode::already_exists);
    EXPECT_EQ(error.message(), "device " + path + ": cannot create it: file exists");
}

TEST_F(DeviceFileTest, a_failed_creation_leaves_no_file) {
    const std::string path = directory_.file("disk");
    const Error error = failure(path, {.create = true, .size_bytes = uint64_t{1} << 62});
    EXPECT_EQ(error.message().find("device " + path + ": cannot size it to "), 0U);
    EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(DeviceFileTest, reads_back_what_was_written_after_reopening) {
    for (const bool direct : {true, false}) {
        const std::string path = directory_.file(direct ? "direct" : "buffered");
        const AlignedBuffer written = pattern(kMiB);
        AlignedBuffer found(kMiB);
        {
            const auto device =
                open(path, {.create = true, .size_bytes = 4 * kMiB, .direct = direct});
            EXPECT_EQ(reactor_->run(write(*device, kMiB, written.bytes())), 0);
            EXPECT_EQ(reactor_->run(flush(*device)), 0);
        }
        auto device = open_device(*reactor_, path, {.direct = direct});
        ASSERT_TRUE(device.ok()) << device.error().message();
        EXPECT_EQ(reactor_->run(read(**device, kMiB, found.bytes())), 0);
        EXPECT_TRUE(std::ranges::equal(found.bytes(), written.bytes()));
        EXPECT_EQ(reactor_->run(read(**device, 0, found.bytes())), 0);
        EXPECT_TRUE(is_zero(found.bytes()));
    }
}

Task<void> write_block(Device& device, uint64_t index, ConstBytes content) {
    EXPECT_EQ(co_await device.write(index * 4096, content.subspan(index * 4096, 4096)), 0);
}

Task<void> write_all_blocks(Executor& executor, Device& device, ConstBytes content) {
    TaskGroup group(executor);
    for (uint64_t i = 0; i < content.size() / 4096; ++i)
        group.spawn(write_block(device, i, content));
    co_await group.join();
}

TEST_F(DeviceFileTest, requests_beyond_the_limit_wait_and_all_end) {
    const auto device =
        open(directory_.file("disk"), {.create = true, .size_bytes = 8 * kMiB, .in_flight_max = 3});
    const AlignedBuffer written = pattern(8 * kMiB);
    AlignedBuffer found(8 * kMiB);
    reactor_->run(write_all_blocks(*reactor_, *device, written.bytes()));
    EXPECT_EQ(reactor_->run(read(*device, 0, found.bytes())), 0);
    EXPECT_TRUE(std::ranges::equal(found.bytes(), written.bytes()));
}

TEST_F(DeviceFileTest, long_requests_go_on_piece_by_piece) {
    const auto device =
        open(directory_.file("disk"),
             {.create = true, .size_bytes = 4 * kMiB, .transfer_bytes_max = 64u << 10});
    const AlignedBuffer written = pattern(3 * kMiB + 4096);
    AlignedBuffer found(written.size());
    EXPECT_EQ(reactor_->run(write(*device, 4096, written.bytes())), 0);
    EXPECT_EQ(reactor_->run(read(*device, 4096, found.bytes())), 0);
    EXPECT_TRUE(std::ranges::equal(found.bytes(), written.bytes()));
}

TEST_F(DeviceFileTest, direct_io_at_the_alignment_that_the_file_system_asks_for) {
    const std::string path = directory_.file("disk");
    const auto device = open(path, {.create = true, .size_bytes = kMiB});
    struct statx status{};
    ASSERT_EQ(statx(AT_FDCWD, path.c_str(), 0, STATX_DIOALIGN, &status), 0);
    // Without an answer of the file system 4096 is always enough.
    const size_t step = status.stx_dio_offset_align >= 512 ? status.stx_dio_offset_align : 4096;
    EXPECT_EQ(reactor_->run(write(*device, 0, pattern(kMiB).bytes())), 0);
    const AlignedBuffer written = pattern(step, 5);
    AlignedBuffer found(3 * step);
    EXPECT_EQ(reactor_->run(write(*device, step, written.bytes())), 0);
    EXPECT_EQ(reactor_->run(read(*device, 0, found.bytes())), 0);
    EXPECT_TRUE(std::ranges::equal(found.bytes().subspan(step, step), written.bytes()));
    EXPECT_TRUE(std::ranges::equal(found.bytes().first(step), pattern(step).bytes()));
}

TEST_F(DeviceFileTest, beyond_the_end_is_an_error_and_growth_is_seen_on_request) {
    const std::string path = directory_.file("disk");
    const auto device = open(path, {.create = true, .size_bytes = 8192});
    AlignedBuffer buffer = pattern(8192);
    EXPECT_EQ(reactor_->run(read(*device, 4096, buffer.bytes())), EIO);
    EXPECT_EQ(reactor_->run(write(*device, 4096, buffer.bytes())), EIO);
    EXPECT_EQ(reactor_->run(discard(*device, 8192, 4096)), EIO);
    ASSERT_EQ(truncate(path.c_str(), 16384 + 100), 0);
    EXPECT_EQ(device->size_bytes(), 8192U);
    const Result<uint64_t> grown = device->refresh_size();
    ASSERT_TRUE(grown.ok());
    EXPECT_EQ(*grown, 16384U);
    EXPECT_EQ(device->size_bytes(), 16384U);
    EXPECT_EQ(reactor_->run(write(*device, 8192, buffer.bytes())), 0);
}

TEST_F(DeviceFileTest, a_file_cut_behind_our_back_answers_short_reads_with_eio) {
    const std::string path = directory_.file("disk");
    for (const bool direct : {true, false}) {
        const auto device = open(path + (direct ? "1" : "2"),
                                 {.create = true, .size_bytes = 65536, .direct = direct});
        ASSERT_EQ(truncate(device->name().c_str(), 8192 + 100), 0);
        AlignedBuffer buffer(16384);
        EXPECT_EQ(reactor_->run(read(*device, 0, buffer.bytes())), EIO);
        EXPECT_EQ(reactor_->run(read(*device, 32768, buffer.bytes())), EIO);
    }
}

TEST_F(DeviceFileTest, discarded_space_is_given_back_and_reads_zero) {
    const std::string path = directory_.file("disk");
    const auto device = open(path, {.create = true, .size_bytes = 4 * kMiB});
    EXPECT_EQ(reactor_->run(write(*device, 0, pattern(4 * kMiB).bytes())), 0);
    EXPECT_EQ(reactor_->run(flush(*device)), 0);
    struct stat before{};
    ASSERT_EQ(stat(path.c_str(), &before), 0);
    EXPECT_EQ(reactor_->run(discard(*device, kMiB, 2 * kMiB)), 0);
    EXPECT_EQ(reactor_->run(discard(*device, 0, 0)), 0);
    struct stat after{};
    ASSERT_EQ(stat(path.c_str(), &after), 0);
    EXPECT_LE(after.st_blocks * 512, before.st_blocks * 512 - static_cast<blkcnt_t>(2 * kMiB));
    EXPECT_EQ(after.st_size, before.st_size);
    AlignedBuffer found(2 * kMiB);
    EXPECT_EQ(reactor_->run(read(*device, kMiB, found.bytes())), 0);
    EXPECT_TRUE(is_zero(found.bytes()));
}

TEST_F(DeviceFileTest, read_only_refuses_changes) {
    const std::string path = directory_.file("disk");
    const AlignedBuffer written = pattern(4096);
    {
        const auto device = open(path, {.create = true, .size_bytes = 8192});
        EXPECT_EQ(reactor_->run(write(*device, 0, written.bytes())), 0);
    }
    const auto device = open(path, {.read_only = true});
    AlignedBuffer found(4096);
    EXPECT_EQ(reactor_->run(read(*device, 0, found.bytes())), 0);
    EXPECT_TRUE(std::ranges::equal(found.bytes(), written.bytes()));
    EXPECT_EQ(reactor_->run(write(*device, 0, written.bytes())), EROFS);
    EXPECT_EQ(reactor_->run(discard(*device, 0, 4096)), EROFS);
    EXPECT_EQ(reactor_->run(flush(*device)), 0);
}

TEST_F(DeviceFileTest, a_second_opener_is_told_that_it_is_busy) {
    const std::string path = directory_.file("disk");
    const auto first = open(path, {.create = true, .size_bytes = 8192});
    const uint64_t start = reactor_->now_ns();
    const Error error = failure(path, {.lock_wait_ms = 30});
    const uint64_t waited_ms = (reactor_->now_ns() - start) / 1'000'000;
    EXPECT_EQ(error.code(), ErrorCode::busy);
    EXPECT_EQ(error.message(), "device " + path +
                                   ": is in use by another process (waited 30 ms); stop that "
                                   "process and try again");
    EXPECT_GE(waited_ms, 30U);
    EXPECT_LT(waited_ms, 1000U);
    EXPECT_EQ(failure(path, {.read_only = true, .lock_wait_ms = 0}).code(), ErrorCode::busy);
    EXPECT_EQ(open(path, {.exclusive_lock = false})->size_bytes(), 8192U);
}

TEST_F(DeviceFileTest, readers_share_and_keep_writers_out) {
    const std::string path = directory_.file("disk");
    {
        const auto device = open(path, {.create = true, .size_bytes = 8192});
    }
    const auto first = open(path, {.read_only = true, .lock_wait_ms = 0});
    const auto second = open(path, {.read_only = true, .lock_wait_ms = 0});
    EXPECT_EQ(failure(path, {.lock_wait_ms = 0}).code(), ErrorCode::busy);
}

// Classic record locks would go with any descriptor of the file, and not be seen by the own
// process.
TEST_F(DeviceFileTest, the_lock_lasts_exactly_as_long_as_its_description) {
    const std::string path = directory_.file("disk");
    auto device = open(path, {.create = true, .size_bytes = 8192});
    ::close(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    EXPECT_EQ(failure(path, {.lock_wait_ms = 0}).code(), ErrorCode::busy);
    device.reset();
    device = open(path, {.lock_wait_ms = 0});
    EXPECT_EQ(device->size_bytes(), 8192U);
}

TEST_F(DeviceFileTest, an_opener_gets_the_lock_when_the_owner_lets_go_in_time) {
    const std::string path = directory_.file("disk");
    {
        const auto device = open(path, {.create = true, .size_bytes = 8192});
    }
    const FileDescriptor owner(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    struct flock range{};
    range.l_type = F_WRLCK;
    ASSERT_EQ(fcntl(owner.get(), F_OFD_SETLK, &range), 0);
    std::thread other([&owner] {
        std::this_thread::sleep_for(std::chrono::milliseconds(40));
        struct flock all{};
        all.l_type = F_UNLCK;
        CHECK(fcntl(owner.get(), F_OFD_SETLK, &all) == 0);
    });
    EXPECT_EQ(open(path, {})->size_bytes(), 8192U);
    other.join();
}

TEST_F(DeviceFileTest, refuses_what_is_no_device) {
    const Error missing = failure(directory_.file("none"), {});
    EXPECT_EQ(missing.code(), ErrorCode::not_found);
    EXPECT_EQ(missing.message(),
              "device " + directory_.file("none") + ": cannot open it: no such file or directory");
    EXPECT_EQ(failure("/dev/null", {}).message(),
              "device /dev/null: is neither a regular file nor a block device");
    ASSERT_EQ(mkfifo(directory_.file("fifo").c_str(), 0600), 0);
    EXPECT_EQ(failure(directory_.file("fifo"), {.read_only = true}).code(),
              ErrorCode::invalid_argument);
    EXPECT_EQ(failure(directory_.file("x"), {.create = true, .size_bytes = 1000}).message(),
              "device " + directory_.file("x") +
                  ": cannot be created with 1000 bytes: not a positive multiple of 512");
    EXPECT_FALSE(std::filesystem::exists(directory_.file("x")));
    EXPECT_EQ(failure(directory_.file("x"), {.create = true, .size_bytes = 512, .read_only = true})
                  .code(),
              ErrorCode::invalid_argument);
    EXPECT_EQ(failure(directory_.file("x"), {.transfer_bytes_max = 1000}).code(),
              ErrorCode::invalid_argument);
}

// A limit for files in this process, lifted again at the end.
class FileSizeLimit {
public:
    explicit FileSizeLimit(uint64_t size_bytes) : handler_(signal(SIGXFSZ, SIG_IGN)) {
        getrlimit(RLIMIT_FSIZE, &old_);
        rlimit limit = old_;
        limit.rlim_cur = size_bytes;
        CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    }
    FileSizeLimit(const FileSizeLimit&) = delete;
    FileSizeLimit& operator=(const FileSizeLimit&) = delete;
    ~FileSizeLimit() {
        CHECK(setrlimit(RLIMIT_FSIZE, &old_) == 0);
        static_cast<void>(signal(SIGXFSZ, handler_));
    }

private:
    rlimit old_{};
    void (*handler_)(int);
};

TEST_F(DeviceFileTest, a_short_write_goes_on_and_reports_why_it_stopped) {
    for (const bool direct : {true, false}) {
        const auto device = open(directory_.file(direct ? "direct" : "buffered"),
                                 {.create = true, .size_bytes = kMiB, .direct = direct});
        const AlignedBuffer written = pattern(65536);
        {
            const FileSizeLimit limit(32768);
            EXPECT_EQ(reactor_->run(write(*device, 0, written.bytes())), EFBIG);
        }
        AlignedBuffer found(65536);
        EXPECT_EQ(reactor_->run(read(*device, 0, found.bytes())), 0);
        EXPECT_TRUE(std::ranges::equal(found.bytes().first(32768), written.bytes().first(32768)));
        EXPECT_TRUE(is_zero(found.bytes().subspan(32768)));
    }
}

TEST_F(DeviceFileTest, a_full_file_system_answers_enospc_and_goes_on) {
    const FileDescriptor small = detached_file_system("tmpfs", "1m");
    if (!small.is_open()) {
        // Without privilege: at least the error of a file that must not grow.
        const auto device = open(directory_.file("disk"), {.create = true, .size_bytes = 8 * kMiB});
        const FileSizeLimit limit(kMiB);
        EXPECT_EQ(reactor_->run(write(*device, 2 * kMiB, pattern(4096).bytes())), EFBIG);
        EXPECT_EQ(reactor_->run(write(*device, 0, pattern(4096).bytes())), 0);
        return;
    }
    const auto device = open("/proc/self/fd/" + std::to_string(small.get()) + "/disk",
                             {.create = true, .size_bytes = 8 * kMiB});
    const AlignedBuffer block = pattern(4 * kMiB);
    EXPECT_EQ(reactor_->run(write(*device, 0, block.bytes())), ENOSPC);
    EXPECT_EQ(reactor_->run(write(*device, 5 * kMiB, block.bytes().first(4096))), ENOSPC);
    EXPECT_EQ(reactor_->run(discard(*device, 0, kMiB)), 0);
    EXPECT_EQ(reactor_->run(write(*device, 5 * kMiB, block.bytes().first(4096))), 0);
}

TEST_F(DeviceFileTest, falls_back_to_buffered_where_direct_io_is_refused) {
    const FileDescriptor refusing = detached_file_system("ramfs", nullptr);
    // Without privilege the directory of the tests answers for itself.
    const std::string path = refusing.is_open()
                                 ? "/proc/self/fd/" + std::to_string(refusing.get()) + "/disk"
                                 : directory_.file("disk");
    const auto device = open(path, {.create = true, .size_bytes = kMiB});
    const FileDescriptor probe(::open(path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC));
    EXPECT_EQ(device->is_direct(), probe.is_open());
    if (refusing.is_open()) EXPECT_FALSE(device->is_direct());
    const AlignedBuffer written = pattern(8192);
    AlignedBuffer found(8192);
    EXPECT_EQ(reactor_->run(write(*device, 4096, written.bytes())), 0);
    EXPECT_EQ(reactor_->run(flush(*device)), 0);
    EXPECT_EQ(reactor_->run(read(*device, 4096, found.bytes())), 0);
    EXPECT_TRUE(std::ranges::equal(found.bytes(), written.bytes()));
    // Advice that the file system does not know is no failure.
    EXPECT_EQ(reactor_->run(discard(*device, 0, 4096)), 0);
}

}  // namespace
}  // namespace stoa::io
