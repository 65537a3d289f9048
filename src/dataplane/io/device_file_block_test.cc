// On a real block device: a loop device over a file. Needs privilege and the loop driver.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <string>

#include "dataplane/io/device_file.h"
#include "dataplane/io/test_directory.h"

namespace stoa::io {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

// Goes away by itself when the last descriptor is closed.
class LoopDevice {
public:
    static std::optional<LoopDevice> create(const std::string& backing) {
        const FileDescriptor control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
        FileDescriptor file(::open(backing.c_str(), O_RDWR | O_CLOEXEC));
        if (!control.is_open() || !file.is_open()) return std::nullopt;
        for (int attempt = 0; attempt < 20; ++attempt) {  // others may take the same number
            const int number = ioctl(control.get(), LOOP_CTL_GET_FREE);
            if (number < 0) return std::nullopt;
            std::string path = "/dev/loop" + std::to_string(number);
            FileDescriptor device(::open(path.c_str(), O_RDWR | O_CLOEXEC));
            if (!device.is_open()) return std::nullopt;
            loop_config config{};
            config.fd = static_cast<unsigned>(file.get());
            config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
            if (ioctl(device.get(), LOOP_CONFIGURE, &config) == 0) {
                return LoopDevice(std::move(path), std::move(device));
            }
            if (errno != EBUSY) return std::nullopt;
        }
        return std::nullopt;
    }

    [[nodiscard]] const std::string& path() const { return path_; }
    // Takes over a new size of the file below.
    [[nodiscard]] bool refresh() const { return ioctl(device_.get(), LOOP_SET_CAPACITY) == 0; }

private:
    LoopDevice(std::string path, FileDescriptor device)
        : path_(std::move(path)), device_(std::move(device)) {}

    std::string path_;
    FileDescriptor device_;
};

Task<void> use(Device& device) {
    AlignedBuffer written(kMiB);
    AlignedBuffer found(kMiB);
    std::ranges::fill(written.bytes(), std::byte{0x3c});
    EXPECT_EQ(co_await device.write(kMiB, written.bytes()), 0);
    EXPECT_EQ(co_await device.flush(), 0);
    EXPECT_EQ(co_await device.read(kMiB, found.bytes()), 0);
    EXPECT_TRUE(std::ranges::equal(written.bytes(), found.bytes()));
    EXPECT_EQ(co_await device.discard(kMiB, kMiB), 0);
    EXPECT_EQ(co_await device.read(device.size_bytes() - 4096, found.bytes()), EIO);
}

TEST(DeviceFileOnBlockDevice, works_is_exclusive_and_grows) {
    const TestDirectory directory;
    const std::string backing = directory.file("backing");
    {
        const FileDescriptor file(::open(backing.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
        ASSERT_EQ(ftruncate(file.get(), 8 * kMiB), 0);
    }
    const auto loop = LoopDevice::create(backing);
    if (!loop) GTEST_SKIP() << "no loop device can be made here";

    auto reactor = Reactor::create();
    ASSERT_TRUE(reactor.ok()) << reactor.error().message();
    auto device = DeviceFile::open(**reactor, loop->path(), {});
    ASSERT_TRUE(device.ok()) << device.error().message();
    EXPECT_TRUE((*device)->is_block_device());
    EXPECT_TRUE((*device)->is_direct());
    EXPECT_EQ((*device)->size_bytes(), 8 * kMiB);
    (*reactor)->run(use(**device));

    auto second = DeviceFile::open(**reactor, loop->path(), {.lock_wait_ms = 0});
    ASSERT_FALSE(second.ok());
    EXPECT_EQ(second.error().code(), ErrorCode::busy);
    EXPECT_EQ(second.error().message(),
              "device " + loop->path() +
                  ": is mounted or in use by another process (waited 0 ms); unmount it, or "
                  "stop that process, and try again");
    auto reader = DeviceFile::open(**reactor, loop->path(), {.read_only = true, .lock_wait_ms = 0});
    ASSERT_FALSE(reader.ok());
    EXPECT_EQ(reader.error().code(), ErrorCode::busy);

    ASSERT_EQ(truncate(backing.c_str(), 16 * kMiB), 0);
    ASSERT_TRUE(loop->refresh());
    EXPECT_EQ((*device)->size_bytes(), 8 * kMiB);
    const Result<uint64_t> grown = (*device)->refresh_size();
    ASSERT_TRUE(grown.ok());
    EXPECT_EQ(*grown, 16 * kMiB);
}

}  // namespace
}  // namespace stoa::io
