#include "dataplane/io/memory_device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "dataplane/io/sim/simulator.h"

namespace stoa::io {
namespace {

std::unique_ptr<MemoryDevice> make_device(Executor& executor, MemoryDeviceOptions options) {
    auto device = MemoryDevice::create(executor, "memory", options);
    CHECK(device.ok());
    return *std::move(device);
}

Task<void> write_and_read(Device& device) {
    AlignedBuffer written(4096);
    AlignedBuffer read(4096);
    std::ranges::fill(written.bytes(), std::byte{0x5a});
    EXPECT_EQ(co_await device.read(8192, read.bytes()), 0);
    EXPECT_TRUE(is_zero(read.bytes()));
    EXPECT_EQ(co_await device.write(8192, written.bytes()), 0);
    EXPECT_EQ(co_await device.flush(), 0);
    EXPECT_EQ(co_await device.read(8192, read.bytes()), 0);
    EXPECT_TRUE(std::ranges::equal(written.bytes(), read.bytes()));
    EXPECT_EQ(co_await device.discard(0, device.size_bytes()), 0);
}

TEST(MemoryDevice, reads_zeros_then_what_was_written) {
    sim::Simulator simulator(1);
    const auto device = make_device(simulator, {.size_bytes = uint64_t{1} << 20});
    EXPECT_EQ(*device->refresh_size(), uint64_t{1} << 20);
    EXPECT_EQ(device->name(), "memory");
    simulator.run(write_and_read(*device));
}

Task<void> cross_the_end(Device& device) {
    AlignedBuffer buffer(4096);
    std::ranges::fill(buffer.bytes(), std::byte{1});
    EXPECT_EQ(co_await device.write(device.size_bytes() - 512, buffer.bytes()), EIO);
    EXPECT_EQ(co_await device.read(device.size_bytes() - 512, buffer.bytes()), EIO);
    EXPECT_EQ(co_await device.read(~uint64_t{511}, buffer.bytes()), EIO);
    EXPECT_EQ(co_await device.write(device.size_bytes(), {}), 0);
}

TEST(MemoryDevice, requests_across_the_end_fail_and_change_nothing) {
    sim::Simulator simulator(1);
    const auto device = make_device(simulator, {.size_bytes = 8192});
    simulator.run(cross_the_end(*device));
    EXPECT_TRUE(is_zero(device->content()));
}

Task<uint64_t> time_a_flush(Executor& executor, Device& device) {
    const uint64_t start = executor.now_ns();
    EXPECT_EQ(co_await device.flush(), 0);
    co_return executor.now_ns() - start;
}

TEST(MemoryDevice, a_flush_takes_its_latency) {
    sim::Simulator simulator(1);
    const auto device = make_device(simulator, {.size_bytes = 4096, .flush_latency_ns = 1'000'000});
    EXPECT_EQ(simulator.run(time_a_flush(simulator, *device)), 1'000'000U);
}

TEST(MemoryDevice, refuses_a_size_that_is_no_device) {
    sim::Simulator simulator(1);
    auto device = MemoryDevice::create(simulator, "odd", {.size_bytes = 1000});
    ASSERT_FALSE(device.ok());
    EXPECT_EQ(device.error().message(),
              "device odd: a size of 1000 bytes is not a positive multiple of 512");
}

}  // namespace
}  // namespace stoa::io
