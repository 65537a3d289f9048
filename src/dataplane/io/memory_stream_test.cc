// The stream that stands for a socket in tests keeps what a socket promises.
#include "dataplane/io/memory_stream.h"

#include <array>
#include <vector>

#include <gtest/gtest.h>

#include "dataplane/io/sim/simulator.h"

namespace stoa::io {
namespace {

TEST(MemoryStreamTest, what_one_end_writes_the_other_reads_in_pieces) {
    sim::Simulator simulator(1);
    auto [near, far] = MemoryStream::create(simulator, {.buffered_bytes = 5, .piece_bytes = 3});
    const std::vector<std::byte> sent(100, std::byte{7});
    std::vector<std::byte> received(sent.size());
    simulator.run([](sim::Simulator& executor, Stream& from, Stream& to,
                     const std::vector<std::byte>& out, std::vector<std::byte>& in) -> Task<void> {
        TaskGroup group(executor);
        group.spawn([](Stream& stream, const std::vector<std::byte>& bytes) -> Task<void> {
            EXPECT_TRUE((co_await write_all(stream, bytes)).ok());
        }(from, out));
        EXPECT_TRUE((co_await read_exactly(to, in)).ok());
        co_await group.join();
    }(simulator, *near, *far, sent, received));
    EXPECT_EQ(received, sent);
    near.reset();
    EXPECT_EQ(*simulator.run(far->read_some(received)), 0U);
    EXPECT_EQ(simulator.run(write_all(*far, sent)).error().code(), ErrorCode::io);
    far->shut_down();
    EXPECT_EQ(simulator.run(far->read_some(received)).error().code(), ErrorCode::cancelled);
}

}  // namespace
}  // namespace stoa::io
