// A server with many clients: limits, the memory they share, and how it stops.
#include "dataplane/serve/nbd/server.h"

#include <gtest/gtest.h>

#include "dataplane/io/test_directory.h"
#include "dataplane/serve/nbd/test_client.h"

namespace stoa::nbd {
namespace {

constexpr uint64_t kMillisecond = 1'000'000;
constexpr uint64_t kSecond = 1'000'000'000;

TEST(ServerTest, three_hundred_connections_are_served_and_no_more_than_the_limit) {
    ServerOptions options;
    options.connections_max = 300;
    TestBench bench(options);
    std::vector<TestClient> clients;
    for (int i = 0; i < 300; ++i) clients.push_back(bench.connect());
    for (TestClient& each : clients) each.go();
    TestClient late = bench.connect();
    EXPECT_TRUE(late.has_been_left());
    for (TestClient& each : clients) EXPECT_EQ(each.ask(Command::flush, 0, 0), 0U);
    EXPECT_EQ(bench.server.counters().connections, 300U);
    EXPECT_EQ(bench.server.counters().refused, 1U);
    clients.pop_back();
    bench.simulator.run_for(kMillisecond);
    bench.connect().go();
    EXPECT_EQ(bench.server.counters().connections_total, 301U);
}

TEST(ServerTest, a_flush_on_one_connection_covers_the_writes_of_another) {
    TestBench bench;
    TestClient writer = bench.connect();
    TestClient flusher = bench.connect();
    writer.go();
    flusher.go();
    EXPECT_EQ(writer.ask(Command::write, 0, 512, 0, std::string(512, 'x')), 0U);
    EXPECT_EQ(flusher.ask(Command::flush, 0, 0), 0U);
    EXPECT_EQ(bench.disk.disk().calls, (std::vector<std::string>{"write 0+512", "flush"}));
    flusher.request(Command::read, 0, 512);
    EXPECT_EQ(flusher.structured().at(0).data(), std::string(512, 'x'));
}

TEST(ServerTest, counters_and_trace_tell_what_was_done) {
    TestBench bench;
    TestClient client = bench.connect();
    client.go();
    client.ask(Command::write, 4096, 8192, 0, std::string(8192, 'x'));
    client.ask(Command::write, UINT64_MAX - 511, 512, 0, std::string(512, 'x'));
    client.ask(Command::flush, 0, 0);
    const Counters& counters = bench.server.counters();
    const auto& writes = counters.operations.at(static_cast<size_t>(Command::write));
    EXPECT_EQ(writes.bytes, 8192U);
    EXPECT_EQ(writes.errors, 1U);
    EXPECT_EQ(writes.latency.buckets()[0], 1U);
    EXPECT_EQ(counters.operations.at(static_cast<size_t>(Command::flush)).latency.buckets()[0], 1U);
    EXPECT_EQ(counters.in_flight, 0U);
    std::vector<OperationTrace::Entry> entries;
    bench.server.trace().visit([&](const auto& entry) { entries.push_back(entry); });
    ASSERT_EQ(entries.size(), 3U);
    EXPECT_EQ(entries[0].offset_bytes, 4096U);
    EXPECT_EQ(entries[1].error, static_cast<uint16_t>(WireError::no_space));
    EXPECT_EQ(entries[2].command, Command::flush);
}

TEST(ServerTest, latencies_fall_into_buckets_by_power_of_two) {
    LatencyHistogram histogram;
    for (const uint64_t ns : {0ULL, 999ULL, 1000ULL, 3999ULL, 4000ULL, 1ULL << 60}) {
        histogram.add(ns);
    }
    EXPECT_EQ(histogram.buckets()[0], 2U);   // below 1 us
    EXPECT_EQ(histogram.buckets()[1], 1U);   // below 2 us
    EXPECT_EQ(histogram.buckets()[2], 1U);   // below 4 us
    EXPECT_EQ(histogram.buckets()[3], 1U);   // below 8 us
    EXPECT_EQ(histogram.buckets().back(), 1U);
}

// ---- stopping and cutting

TEST(ServerTest, stop_waits_for_what_is_in_flight_and_lets_nothing_more_through) {
    TestBench bench;
    TestClient client = bench.connect();
    TestClient shaking_hands = bench.connect();
    client.go();
    TestVolume& disk = bench.disk.disk();
    disk.held = true;
    client.request(Command::write, 0, 512, 0, std::string(512, 'x'));
    bench.simulator.run_for(kMillisecond);
    io::TaskGroup group(bench.simulator);
    group.spawn(bench.server.stop());
    EXPECT_FALSE(client.request(Command::write, 512, 512, 0, std::string(512, 'y')));
    bench.simulator.run_for(kSecond);
    EXPECT_EQ(group.running(), 1U);  // the write has not ended
    EXPECT_EQ(disk.calls, (std::vector<std::string>{"write 0+512"}));
    disk.release();
    bench.simulator.run(group.join());
    EXPECT_TRUE(client.has_been_left());
    EXPECT_FALSE(shaking_hands.receive(kGreetingBytes).empty());  // sent before
    EXPECT_TRUE(shaking_hands.has_been_left());
    TestClient late = bench.connect();
    EXPECT_TRUE(late.has_been_left());
}

TEST(ServerTest, what_was_received_but_not_begun_is_not_begun_after_a_cut) {
    TestBench bench;
    TestClient client = bench.connect({.buffered_bytes = 1 << 20});
    client.go(false);
    TestVolume& disk = bench.disk.disk();
    disk.held = true;
    // More than run beside each other: the rest waits in the receive buffer.
    for (int i = 0; i < 300; ++i) client.request(Command::flush, 0, 0);
    bench.simulator.run_for(kMillisecond);
    io::TaskGroup group(bench.simulator);
    group.spawn(bench.server.stop());
    disk.release();
    bench.simulator.run(group.join());
    EXPECT_EQ(disk.calls.size(), 256U);
}

TEST(ServerTest, a_request_of_several_steps_takes_no_further_one_after_a_cut) {
    TestBench bench;
    TestClient client = bench.connect();
    client.go(true, {"base:allocation"});
    TestVolume& disk = bench.disk.disk();
    disk.mark(0, 65536, block::ExtentKind::data);
    disk.held = true;
    client.request(Command::trim, 0, 4096, kFua);
    client.request(Command::read, 0, 131072);
    bench.simulator.run_for(kMillisecond);
    io::TaskGroup group(bench.simulator);
    group.spawn(bench.server.stop());
    disk.release();
    bench.simulator.run(group.join());
    EXPECT_EQ(disk.calls, (std::vector<std::string>{"discard 0+4096", "extents 0+131072"}));
}

// ---- memory

BufferLimits small_limits() {
    BufferLimits limits;
    limits.shared_bytes = 1 << 20;
    limits.share_bytes = 64 << 10;
    limits.stuck_ns = 10 * kSecond;
    return limits;
}

TEST(ServerTest, who_does_not_read_holds_a_bounded_amount_and_its_neighbour_goes_on) {
    TestBench bench({}, small_limits());
    std::vector<TestClient> stuck;
    for (int i = 0; i < 4; ++i) {
        stuck.push_back(bench.connect({.buffered_bytes = 1 << 16}));
        stuck.back().go(false);
        for (int each = 0; each < 100; ++each) stuck.back().request(Command::read, 0, 256 << 10);
    }
    bench.simulator.run_for(kSecond);
    EXPECT_LE(bench.buffers.shared_bytes(), 1U << 20);
    TestClient neighbour = bench.connect();
    neighbour.go();
    for (int i = 0; i < 1000; ++i) {
        ASSERT_EQ(neighbour.ask(Command::write, 0, 4096, 0, std::string(4096, 'x')), 0U);
    }
    EXPECT_EQ(bench.server.counters().connections, 5U);
}

TEST(ServerTest, who_does_not_read_is_cut_off_when_others_have_waited_for_its_memory) {
    TestBench bench({}, small_limits());
    std::vector<TestClient> stuck;
    for (int i = 0; i < 4; ++i) {
        stuck.push_back(bench.connect({.buffered_bytes = 1 << 16}));
        stuck.back().go(false);
        for (int each = 0; each < 100; ++each) stuck.back().request(Command::read, 0, 256 << 10);
    }
    TestClient patient = bench.connect({.buffered_bytes = 1 << 16});
    patient.go();
    const uint64_t begun = bench.simulator.now_ns();
    EXPECT_EQ(patient.ask(Command::write, 0, 512 << 10, 0, std::string(512 << 10, 'x')), 0U);
    const uint64_t waited = bench.simulator.now_ns() - begun;
    EXPECT_GE(waited, 9 * kSecond);
    EXPECT_LE(waited, 11 * kSecond);
}

TEST(ServerTest, who_reads_slowly_but_reads_is_not_cut_off) {
    BufferLimits limits = small_limits();
    limits.stuck_ns = 3 * kSecond;  // less than one answer takes
    TestBench bench({}, limits);
    TestClient slow = bench.connect({.buffered_bytes = 1 << 16});
    slow.go(false);
    for (int i = 0; i < 100; ++i) slow.request(Command::read, 0, 1 << 19);
    TestClient other = bench.connect();
    other.go(false);
    other.request(Command::read, 0, 1 << 20);  // waits for memory
    size_t got = 0;
    while (got < 60U << 19) {  // a quarter of a request each second
        bench.simulator.run_for(kSecond);
        ASSERT_FALSE(slow.receive(1 << 17).empty()) << got;
        got += 1 << 17;
    }
}

TEST(ServerTest, one_request_bigger_than_all_shared_memory_is_possible) {
    BufferLimits limits = small_limits();
    limits.shared_bytes = 64 << 10;
    TestBench bench({}, limits);
    TestClient first = bench.connect();
    TestClient second = bench.connect();
    first.go();
    second.go();
    const std::string data(1 << 20, 'x');
    first.request(Command::write, 0, 1 << 20, 0, data);
    second.request(Command::write, 0, 1 << 20, 0, data);
    EXPECT_EQ(first.outcome(), 0U);
    EXPECT_EQ(second.outcome(), 0U);
    EXPECT_EQ(bench.buffers.shared_bytes(), 0U);
}

TEST(ServerTest, a_big_request_is_not_overtaken_for_ever_by_small_ones) {
    BufferLimits limits = small_limits();
    limits.share_bytes = 0;
    TestBench bench({}, limits);
    TestVolume& disk = bench.disk.disk();
    std::vector<TestClient> clients;
    for (int i = 0; i < 5; ++i) {
        clients.push_back(bench.connect({.buffered_bytes = 1 << 20}));
        clients.back().go();
    }
    // Four keep more than a half of the memory busy; the fifth wants nearly all of it.
    disk.held = true;
    for (int i = 0; i < 4; ++i) {
        for (int each = 0; each < 3; ++each) {
            clients[static_cast<size_t>(i)].request(Command::read, 0, 64 << 10, kDontFragment);
        }
    }
    bench.simulator.run_for(kMillisecond);
    clients[4].request(Command::read, 0, 1 << 20, kDontFragment);
    bench.simulator.run_for(kMillisecond);
    clients[0].request(Command::read, 0, 64 << 10, kDontFragment);  // it would fit
    bench.simulator.run_for(kMillisecond);
    EXPECT_EQ(disk.calls.size(), 12U);
    disk.release();
    EXPECT_EQ(clients[4].structured().at(0).data().size(), 1U << 20);
    for (int each = 0; each < 4; ++each) EXPECT_EQ(clients[0].structured().size(), 1U);
}

TEST(ServerTest, answers_about_block_status_count_as_memory_too) {
    BufferLimits limits = small_limits();
    limits.shared_bytes = 256 << 10;
    TestBench bench({}, limits);
    TestExport& big = bench.table.add(bench.simulator, "big", uint64_t{64} << 20);
    for (uint64_t at = 0; at < big.disk().size_bytes(); at += 8192) {
        big.disk().mark(at, 4096, block::ExtentKind::data);
    }
    TestClient client = bench.connect({.buffered_bytes = 1 << 16});
    ASSERT_TRUE(client.greet());
    client.option(Option::structured_reply);
    client.meta(Option::set_meta_context, "big", {"base:allocation"});
    ASSERT_TRUE(TestClient::is_ack(client.info(Option::go, "big")));
    for (int i = 0; i < 200; ++i) client.request(Command::block_status, 0, 64 << 20);
    bench.simulator.run_for(kSecond);
    EXPECT_LE(big.disk().calls.size(), 20U);  // of 32 KiB each; the rest waits
    for (int i = 0; i < 200; ++i) EXPECT_EQ(client.structured().at(0).type, Chunk::block_status);
    EXPECT_EQ(bench.buffers.shared_bytes(), 0U);
}

// ---- a real socket

io::Task<void> use_real_socket(io::Reactor& reactor, Server& server) {
    for (int i = 0; i < 2; ++i) {
        auto stream = co_await io::Socket::connect(reactor, server.address(), kSecond);
        CHECK(stream.ok());
        std::array<std::byte, kGreetingBytes> hello{};
        EXPECT_TRUE((co_await io::read_exactly(**stream, hello)).ok());
        Writer out;
        out.put(uint32_t{kFixedNewstyle | kNoZeroes});
        encode_option(out, Option::export_name, bytes_of("disk"));
        out.bytes().resize(out.bytes().size() + kRequestBytes);
        encode_request(out.bytes().data() + out.bytes().size() - kRequestBytes,
                       {0, static_cast<uint16_t>(Command::read), 9, 4096, 4096});
        EXPECT_TRUE((co_await io::write_all(**stream, out.bytes())).ok());
        std::vector<std::byte> in(10 + kSimpleReplyBytes + 4096);
        EXPECT_TRUE((co_await io::read_exactly(**stream, in)).ok());
        EXPECT_EQ(load_be<uint32_t>(in.data() + 10), kSimpleReplyMagic);
        EXPECT_EQ(in.back(), std::byte{'x'});
    }
    co_await server.stop();
}

TEST(ServerTest, a_real_socket_is_listened_on_and_removed) {
    const io::TestDirectory directory;
    auto reactor = *io::Reactor::create();
    TestTable table;
    TestExport& disk = table.add(*reactor, "disk", 1 << 20);
    std::memset(disk.disk().bytes().data(), 'x', 1 << 20);
    Buffers buffers(*reactor, {});
    Server server(*reactor, table, buffers);
    const io::Address address{directory.file("nbd.socket"), "", 0};
    auto listener = io::Listener::open(*reactor, address);
    ASSERT_TRUE(listener.ok());
    server.start(*std::move(listener));
    EXPECT_EQ(server.address(), address);
    reactor->run(use_real_socket(*reactor, server));
    reactor->run(buffers.stop());
    EXPECT_EQ(server.counters().connections_total, 2U);
}

}  // namespace
}  // namespace stoa::nbd
