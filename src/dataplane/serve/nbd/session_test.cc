// Each command of the transmission phase and its flags, as a client sees them.
#include "dataplane/serve/nbd/session.h"

#include <gtest/gtest.h>

#include "dataplane/serve/nbd/test_client.h"

namespace stoa::nbd {
namespace {

using block::ExtentKind;
constexpr uint64_t kDiskBytes = 1 << 20;
constexpr uint32_t kEperm = 1, kEio = 5, kEinval = 22, kEnospc = 28, kEoverflow = 75,
                   kEshutdown = 108;

class SessionTest : public ::testing::Test {
protected:
    TestClient structured() {
        TestClient client = bench_.connect();
        client.go();
        return client;
    }
    TestClient simple() {
        TestClient client = bench_.connect();
        client.go(false);
        return client;
    }
    TestVolume& disk() { return bench_.disk.disk(); }
    std::vector<std::string>& calls() { return disk().calls; }

    TestBench bench_;
};

// Each block of 4096 with a letter of its own, beginning with 'a'.
std::string letters(size_t size_bytes) {
    std::string text;
    while (text.size() < size_bytes) {
        text.append(4096, static_cast<char>('a' + text.size() / 4096 % 26));
    }
    return text.substr(0, size_bytes);
}

// ---- reads and writes

TEST_F(SessionTest, what_was_written_is_read_with_simple_replies) {
    TestClient client = simple();
    client.request(Command::write, 4096, 8192, 0, letters(8192), 0xFFEEDDCCBBAA9988);
    EXPECT_EQ(client.simple(0xFFEEDDCCBBAA9988), 0U);
    client.request(Command::read, 4096, 8192);
    EXPECT_EQ(client.simple(), 0U);
    EXPECT_EQ(client.receive(8192), letters(8192));
    EXPECT_EQ(calls(), (std::vector<std::string>{"write 4096+8192", "read 4096+8192"}));
}

TEST_F(SessionTest, what_was_written_is_read_with_structured_replies) {
    TestClient client = structured();
    EXPECT_EQ(client.ask(Command::write, 512, 1024, 0, letters(1024)), 0U);
    client.request(Command::read, 512, 1024);
    const auto pieces = client.structured();
    ASSERT_EQ(pieces.size(), 1U);
    EXPECT_EQ(pieces[0].type, Chunk::offset_data);
    EXPECT_EQ(pieces[0].cookie, 7U);
    EXPECT_EQ(pieces[0].offset(), 512U);
    EXPECT_EQ(pieces[0].data(), letters(1024));
}

TEST_F(SessionTest, sizes_around_the_receive_buffer_arrive_whole_in_any_pieces) {
    for (const size_t piece : {size_t{0}, size_t{7}, size_t{1000}}) {
        const size_t buffered = piece == 0 ? 64 * 1024 : 4096;
        TestClient client = bench_.connect({.buffered_bytes = buffered, .piece_bytes = piece});
        client.go(false);
        for (const uint32_t size :
             {512U, 65536U, 65536U + 512, 131072U - 512, 131072U, 262144U, uint32_t{kDiskBytes}}) {
            std::string data = letters(size);
            data.back() = '!';
            client.request(Command::write, 0, size, 0, data);
            EXPECT_EQ(client.simple(), 0U);
            client.request(Command::read, 0, size);
            EXPECT_EQ(client.simple(), 0U);
            EXPECT_EQ(client.receive(size), data) << size << " in pieces of " << piece;
        }
    }
}

TEST_F(SessionTest, one_receive_brings_many_requests) {
    TestClient client = simple();
    std::vector<std::byte> all;
    for (uint64_t i = 0; i < 200; ++i) {
        const size_t at = all.size();
        all.resize(at + kRequestBytes + 512);
        encode_request(all.data() + at, {0, 1, i, i * 512, 512});
        std::memset(all.data() + at + kRequestBytes, static_cast<int>(i + 1), 512);
    }
    EXPECT_TRUE(client.send(all));
    for (uint64_t i = 0; i < 200; ++i) EXPECT_EQ(client.simple(i), 0U);
    for (uint64_t i = 0; i < 200; ++i) {
        EXPECT_EQ(std::to_integer<uint64_t>(disk().bytes()[i * 512 + 511]), i + 1);
    }
}

TEST_F(SessionTest, answers_come_as_requests_end_not_in_their_order) {
    TestClient client = simple();
    disk().held = true;
    client.request(Command::read, 0, 512, 0, {}, 1);
    bench_.simulator.run_for(1'000'000);
    disk().held = false;  // the first one goes on waiting
    client.request(Command::read, 0, 512, 0, {}, 2);
    EXPECT_EQ(client.simple(2), 0U);
    client.receive(512);
    disk().release();
    EXPECT_EQ(client.simple(1), 0U);
}

TEST_F(SessionTest, a_request_of_32_mebibytes_is_possible) {
    TestExport& big = bench_.table.add(bench_.simulator, "big", uint64_t{kPayloadBytesMax} * 2);
    TestClient client = bench_.connect({.buffered_bytes = 1 << 20});
    ASSERT_TRUE(client.greet());
    ASSERT_TRUE(TestClient::is_ack(client.info(Option::go, "big")));
    const std::string data = letters(kPayloadBytesMax);
    client.request(Command::write, kPayloadBytesMax, kPayloadBytesMax, 0, data);
    EXPECT_EQ(client.simple(), 0U);
    client.request(Command::read, kPayloadBytesMax, kPayloadBytesMax);
    EXPECT_EQ(client.simple(), 0U);
    EXPECT_TRUE(client.receive(kPayloadBytesMax) == data);
    EXPECT_EQ(big.disk().calls.size(), 2U);
}

// ---- holes and errors in reads

TEST_F(SessionTest, a_large_read_tells_holes_instead_of_sending_zeroes) {
    TestClient client = structured();
    EXPECT_EQ(client.ask(Command::write, 65536, 65536, 0, letters(65536)), 0U);
    client.request(Command::read, 0, 256 * 1024);
    const auto pieces = client.structured();
    ASSERT_EQ(pieces.size(), 3U);
    EXPECT_EQ(pieces[0].type, Chunk::offset_hole);
    EXPECT_EQ(pieces[0].offset(), 0U);
    EXPECT_EQ(pieces[0].hole_bytes(), 65536U);
    EXPECT_EQ(pieces[1].type, Chunk::offset_data);
    EXPECT_EQ(pieces[1].offset(), 65536U);
    EXPECT_EQ(pieces[1].data(), letters(65536));
    EXPECT_EQ(pieces[2].type, Chunk::offset_hole);
    EXPECT_EQ(pieces[2].offset(), 131072U);
    EXPECT_EQ(pieces[2].hole_bytes(), 131072U);
}

TEST_F(SessionTest, dont_fragment_gets_one_chunk_with_the_zeroes_in_it) {
    TestClient client = structured();
    EXPECT_EQ(client.ask(Command::write, 65536, 4096, 0, letters(4096)), 0U);
    client.request(Command::read, 0, 256 * 1024, kDontFragment);
    const auto pieces = client.structured();
    ASSERT_EQ(pieces.size(), 1U);
    EXPECT_EQ(pieces[0].type, Chunk::offset_data);
    EXPECT_EQ(pieces[0].data().size(), 256U * 1024);
    EXPECT_EQ(pieces[0].data().substr(65536, 4096), letters(4096));
}

TEST_F(SessionTest, a_small_read_asks_the_map_nothing) {
    TestClient client = structured();
    client.request(Command::read, 0, 32768);
    EXPECT_EQ(client.structured().at(0).type, Chunk::offset_data);
    EXPECT_EQ(calls(), (std::vector<std::string>{"read 0+32768"}));
}

TEST_F(SessionTest, what_an_origin_may_fill_is_not_told_as_a_hole) {
    bench_.disk.has_origin = true;
    TestClient client = structured();
    disk().mark(0, 65536, ExtentKind::hole);  // the rest is absent: the origin's
    client.request(Command::read, 0, 131072);
    const auto pieces = client.structured();
    ASSERT_EQ(pieces.size(), 2U);
    EXPECT_EQ(pieces[0].type, Chunk::offset_hole);
    EXPECT_EQ(pieces[0].hole_bytes(), 65536U);
    EXPECT_EQ(pieces[1].type, Chunk::offset_data);
}

TEST_F(SessionTest, more_extents_than_are_asked_for_are_read_whole) {
    TestClient client = structured();
    const std::string data = letters(kDiskBytes);
    client.ask(Command::write, 0, kDiskBytes, 0, data);
    std::string expected = data;
    for (uint64_t at = 0; at < kDiskBytes; at += 8192) {
        client.ask(Command::write_zeroes, at, 4096);
        expected.replace(at, 4096, std::string(4096, '\0'));
    }
    client.request(Command::read, 0, kDiskBytes);
    std::string got(kDiskBytes, '?');
    for (const auto& piece : client.structured()) {
        if (piece.type == Chunk::offset_hole) {
            got.replace(piece.offset(), piece.hole_bytes(), std::string(piece.hole_bytes(), '\0'));
        } else {
            ASSERT_EQ(piece.type, Chunk::offset_data);
            got.replace(piece.offset(), piece.data().size(), piece.data());
        }
    }
    EXPECT_TRUE(got == expected);
}

TEST_F(SessionTest, a_read_says_where_it_failed_and_sends_the_rest) {
    TestClient client = structured();
    client.ask(Command::write, 0, 262144, 0, letters(262144));
    disk().mark(131072, 4096, ExtentKind::damaged);
    client.request(Command::read, 0, 262144);
    const auto pieces = client.structured();
    ASSERT_EQ(pieces.size(), 3U);
    EXPECT_EQ(pieces[0].type, Chunk::offset_data);
    EXPECT_EQ(pieces[0].data(), letters(131072));
    EXPECT_EQ(pieces[1].type, Chunk::error_offset);
    EXPECT_EQ(pieces[1].error(), kEio);
    EXPECT_EQ(pieces[1].error_offset(), 131072U);
    EXPECT_EQ(pieces[2].type, Chunk::offset_data);
    EXPECT_EQ(pieces[2].offset(), 135168U);
    EXPECT_EQ(pieces[2].data(), letters(262144).substr(135168));
    EXPECT_EQ(bench_.server.counters().operations[0].errors, 1U);
}

TEST_F(SessionTest, a_failed_small_read_has_an_error_and_no_data) {
    TestClient client = structured();
    disk().mark(4096, 4096, ExtentKind::damaged);
    client.request(Command::read, 0, 8192);
    const auto pieces = client.structured();
    ASSERT_EQ(pieces.size(), 1U);
    EXPECT_EQ(pieces[0].type, Chunk::error);
    EXPECT_EQ(pieces[0].error(), kEio);
    EXPECT_EQ(pieces[0].payload.substr(6), "block 1");
    TestClient plain = simple();
    plain.request(Command::read, 0, 8192);
    EXPECT_EQ(plain.simple(), kEio);
    plain.request(Command::read, 0, 512);  // nothing of the first is in between
    EXPECT_EQ(plain.simple(), 0U);
}

// ---- the other commands

TEST_F(SessionTest, flush_trim_and_zeroes_reach_the_volume) {
    TestClient client = structured();
    client.ask(Command::write, 0, 16384, 0, letters(16384));
    calls().clear();
    EXPECT_EQ(client.ask(Command::flush, 0, 0), 0U);
    EXPECT_EQ(client.ask(Command::trim, 0, 4096), 0U);
    EXPECT_EQ(client.ask(Command::write_zeroes, 4096, 4096), 0U);
    EXPECT_EQ(client.ask(Command::write_zeroes, 8192, 4096, kNoHole | kFastZero), 0U);
    EXPECT_EQ(client.ask(Command::cache, 0, kDiskBytes), 0U);
    EXPECT_EQ(calls(), (std::vector<std::string>{"flush", "discard 0+4096", "zero 4096+4096",
                                                 "zero 8192+4096"}));
    EXPECT_EQ(text_of(disk().bytes().first(16384)),
              std::string(12288, '\0') + std::string(4096, 'd'));
}

TEST_F(SessionTest, fua_makes_every_change_durable_and_is_taken_with_all_commands) {
    TestClient client = structured();
    EXPECT_EQ(client.ask(Command::write, 0, 512, kFua, letters(512)), 0U);
    EXPECT_EQ(client.ask(Command::trim, 0, 4096, kFua), 0U);
    EXPECT_EQ(client.ask(Command::write_zeroes, 0, 4096, kFua), 0U);
    EXPECT_EQ(client.ask(Command::flush, 0, 0, kFua), 0U);
    EXPECT_EQ(client.ask(Command::cache, 0, 512, kFua), 0U);
    EXPECT_EQ(calls(), (std::vector<std::string>{"write 0+512 fua", "discard 0+4096", "flush",
                                                 "zero 0+4096 fua", "flush"}));
    client.request(Command::read, 0, 512, kFua);
    EXPECT_EQ(client.structured().at(0).type, Chunk::offset_data);
}

TEST_F(SessionTest, zeroes_may_be_longer_than_any_payload) {
    bench_.table.add(bench_.simulator, "big", uint64_t{kPayloadBytesMax} * 2);
    TestClient client = bench_.connect();
    ASSERT_TRUE(client.greet());
    ASSERT_TRUE(TestClient::is_ack(client.info(Option::go, "big")));
    for (const Command command : {Command::write_zeroes, Command::trim, Command::cache}) {
        client.request(command, 0, kPayloadBytesMax * 2);
        EXPECT_EQ(client.simple(), 0U);
    }
}

TEST_F(SessionTest, disconnect_lets_what_is_in_flight_end_and_answers_it) {
    TestClient client = structured();
    disk().held = true;
    client.request(Command::write, 0, 512, 0, letters(512));
    client.request(Command::disconnect, 0, 0);
    bench_.simulator.run_for(1'000'000);
    EXPECT_EQ(bench_.server.counters().connections, 1U);
    disk().release();
    EXPECT_EQ(client.outcome(), 0U);
    EXPECT_TRUE(client.has_been_left());
    bench_.simulator.run_for(1'000'000);
    EXPECT_EQ(bench_.server.counters().connections, 0U);
}

// ---- block status

TEST_F(SessionTest, block_status_tells_what_is_allocated) {
    TestClient client = bench_.connect();
    client.go(true, {"base:allocation"});
    client.ask(Command::write, 4096, 8192, 0, letters(8192));
    client.ask(Command::write, 16384, 4096, 0, letters(4096));
    client.ask(Command::trim, 4096, 4096);
    disk().mark(20480, 4096, ExtentKind::damaged);
    client.request(Command::block_status, 0, kDiskBytes);
    auto pieces = client.structured();
    ASSERT_EQ(pieces.size(), 1U);
    EXPECT_EQ(pieces[0].type, Chunk::block_status);
    EXPECT_EQ(pieces[0].context(), 1U);
    EXPECT_EQ(pieces[0].status(), "8192:3 4096:0 4096:3 8192:0 1024000:3");
    client.request(Command::block_status, 512, 8192);
    EXPECT_EQ(client.structured().at(0).status(), "7680:3 512:0");
    client.request(Command::block_status, 512, kDiskBytes - 512, kRequireOne);
    EXPECT_EQ(client.structured().at(0).status(), "7680:3");
}

TEST_F(SessionTest, block_status_of_a_clone_does_not_promise_zeroes) {
    bench_.disk.has_origin = true;
    TestClient client = bench_.connect();
    client.go(true, {"base:allocation"});
    disk().mark(4096, 4096, ExtentKind::hole);
    client.request(Command::block_status, 0, 12288);
    EXPECT_EQ(client.structured().at(0).status(), "4096:0 4096:3 4096:0");
}

TEST_F(SessionTest, block_status_answers_each_chosen_context) {
    TestClient client = bench_.connect();
    client.go(true, {"test:odd", "base:allocation"});
    client.request(Command::block_status, 0, 8192);
    auto pieces = client.structured();
    ASSERT_EQ(pieces.size(), 2U);
    EXPECT_EQ(pieces[0].context(), 1U);
    EXPECT_EQ(pieces[0].status(), "4096:1 4096:0");
    EXPECT_EQ(pieces[1].context(), 2U);
    EXPECT_EQ(pieces[1].status(), "8192:3");
    client.request(Command::block_status, 0, 8192, kRequireOne);
    pieces = client.structured();
    ASSERT_EQ(pieces.size(), 2U);
    EXPECT_EQ(pieces[0].status(), "4096:1");
    EXPECT_EQ(pieces[1].status(), "8192:3");
}

TEST_F(SessionTest, block_status_has_a_limit_of_descriptors) {
    TestExport& big = bench_.table.add(bench_.simulator, "big", uint64_t{64} << 20);
    for (uint64_t at = 0; at < big.disk().size_bytes(); at += 8192) {
        big.disk().mark(at, 4096, ExtentKind::data);
    }
    TestClient client = bench_.connect();
    ASSERT_TRUE(client.greet());
    client.option(Option::structured_reply);
    client.meta(Option::set_meta_context, "big", {"base:allocation", "test:odd"});
    ASSERT_TRUE(TestClient::is_ack(client.info(Option::go, "big")));
    client.request(Command::block_status, 0, 64 << 20);
    for (const auto& piece : client.structured()) {
        EXPECT_EQ(piece.type, Chunk::block_status);
        EXPECT_EQ(piece.payload.size(), 4 + 8 * 4096U);
    }
}

TEST_F(SessionTest, a_failed_block_status_is_an_error) {
    TestClient client = bench_.connect();
    client.go(true, {"base:allocation"});
    disk().error = ErrorCode::io;
    EXPECT_EQ(client.ask(Command::block_status, 0, 4096), kEio);
}

// ---- what is refused

TEST_F(SessionTest, what_is_beyond_the_end_or_not_aligned_is_refused) {
    struct Case {
        Command command;
        uint64_t offset;
        uint32_t length;
        uint32_t error;
    };
    TestClient client = bench_.connect();
    client.go(true, {"base:allocation"});
    for (const Case& each : {
             Case{Command::read, kDiskBytes, 512, kEinval},
             Case{Command::read, kDiskBytes - 512, 1024, kEinval},
             Case{Command::read, UINT64_MAX - 511, 512, kEinval},
             Case{Command::read, 1, 512, kEinval},
             Case{Command::read, 0, 513, kEinval},
             Case{Command::read, 0, 0, kEinval},
             Case{Command::read, 0, kPayloadBytesMax + 512, kEoverflow},
             Case{Command::trim, kDiskBytes, 4096, kEinval},
             Case{Command::trim, 0, UINT32_MAX, kEinval},
             Case{Command::trim, 0, 100, kEinval},
             Case{Command::write_zeroes, kDiskBytes, 4096, kEnospc},
             Case{Command::write_zeroes, 100, 4096, kEinval},
             Case{Command::cache, kDiskBytes, 4096, kEinval},
             Case{Command::block_status, kDiskBytes, 4096, kEinval},
             Case{Command::block_status, 0, 0, kEinval},
             Case{static_cast<Command>(8), 0, 512, kEinval},
             Case{static_cast<Command>(0xFFFF), 0, 512, kEinval},
         }) {
        EXPECT_EQ(client.ask(each.command, each.offset, each.length), each.error)
            << static_cast<int>(each.command) << " " << each.offset << "+" << each.length;
    }
    EXPECT_TRUE(calls().empty());
}

TEST_F(SessionTest, the_data_of_a_refused_write_is_passed_over) {
    TestClient client = structured();
    EXPECT_EQ(client.ask(Command::write, kDiskBytes, 512, 0, letters(512)), kEnospc);
    EXPECT_EQ(client.ask(Command::write, 1, 512, 0, letters(512)), kEinval);
    EXPECT_EQ(client.ask(Command::write, 0, 513, 0, letters(513)), kEinval);
    EXPECT_EQ(client.ask(Command::write, 0, 0), kEinval);
    EXPECT_EQ(client.ask(Command::write, 0, 300'000, 0, letters(300'000)), kEinval);
    EXPECT_EQ(client.ask(Command::write, 0, 512, kNoHole, letters(512)), kEinval);
    EXPECT_TRUE(calls().empty());
    EXPECT_EQ(client.ask(Command::write, 0, 512, 0, letters(512)), 0U);
}

TEST_F(SessionTest, a_write_of_more_than_the_limit_is_refused_and_the_connection_ends) {
    TestClient client = structured();
    EXPECT_EQ(client.ask(Command::write, 0, kPayloadBytesMax + 512), kEoverflow);
    EXPECT_TRUE(client.has_been_left());
    EXPECT_TRUE(calls().empty());
}

TEST_F(SessionTest, flags_of_other_commands_and_unknown_ones_are_refused) {
    TestClient client = bench_.connect();
    client.go(true, {"base:allocation"});
    for (const Command command : {Command::read, Command::flush, Command::trim, Command::cache,
                                  Command::write_zeroes, Command::block_status}) {
        for (const uint16_t flag : {kNoHole, kDontFragment, kRequireOne, kFastZero,
                                    uint16_t{1 << 5}, uint16_t{1 << 15}}) {
            const bool zeroes =
                command == Command::write_zeroes && (flag == kNoHole || flag == kFastZero);
            if (zeroes || (command == Command::read && flag == kDontFragment) ||
                (command == Command::block_status && flag == kRequireOne)) {
                continue;
            }
            const uint32_t length = command == Command::flush ? 0 : 4096;
            EXPECT_EQ(client.ask(command, 0, length, flag), kEinval)
                << static_cast<int>(command) << " " << flag;
        }
    }
    EXPECT_TRUE(calls().empty());
    TestClient plain = simple();
    plain.request(Command::read, 0, 512, kDontFragment);  // without structured replies
    EXPECT_EQ(plain.simple(), kEinval);
    plain.request(Command::block_status, 0, 512);
    EXPECT_EQ(plain.simple(), kEinval);
}

TEST_F(SessionTest, a_read_only_export_takes_no_change) {
    disk().is_read_only = true;
    TestClient client = structured();
    EXPECT_EQ(client.ask(Command::write, 0, 512, 0, letters(512)), kEperm);
    EXPECT_EQ(client.ask(Command::trim, 0, 4096), kEperm);
    EXPECT_EQ(client.ask(Command::write_zeroes, 0, 4096), kEperm);
    EXPECT_EQ(client.ask(Command::flush, 0, 0), 0U);
    EXPECT_EQ(calls(), (std::vector<std::string>{"flush"}));
}

TEST_F(SessionTest, errors_of_the_volume_are_told_as_the_protocol_names_them) {
    struct Case {
        ErrorCode code;
        uint32_t error;
    };
    TestClient client = structured();
    for (const Case& each :
         {Case{ErrorCode::no_space, kEnospc}, Case{ErrorCode::read_only, kEio},
          Case{ErrorCode::io, kEio}, Case{ErrorCode::corrupt, kEio},
          Case{ErrorCode::out_of_range, kEnospc}, Case{ErrorCode::invalid_argument, kEinval},
          Case{ErrorCode::cancelled, kEshutdown}}) {
        disk().error = each.code;
        EXPECT_EQ(client.ask(Command::write, 0, 512, 0, letters(512)), each.error);
    }
    EXPECT_EQ(bench_.server.counters().operations[1].errors, 7U);
    disk().error = ErrorCode::out_of_range;  // the volume has shrunk
    EXPECT_EQ(client.ask(Command::read, 0, 512), kEinval);
}

// ---- clients that leave or do not keep the rules

TEST_F(SessionTest, garbage_between_requests_ends_the_connection) {
    TestClient client = simple();
    EXPECT_TRUE(client.send(bytes_of("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")));
    EXPECT_TRUE(client.has_been_left());
}

TEST_F(SessionTest, a_client_that_hangs_up_within_a_request_leaves_nothing) {
    std::vector<std::byte> message(kRequestBytes + 512);
    encode_request(message.data(), {0, 1, 7, 0, 512});
    for (const size_t size :
         {size_t{0}, size_t{1}, size_t{27}, size_t{28}, size_t{100}, size_t{539}}) {
        TestClient client = simple();
        client.send(ConstBytes(message).first(size));
        client.hang_up();
        bench_.simulator.run_for(1'000'000);
        EXPECT_EQ(bench_.server.counters().connections, 0U) << size;
    }
    EXPECT_TRUE(calls().empty());
}

TEST_F(SessionTest, a_session_lives_until_its_requests_have_ended) {
    TestClient client = simple();
    disk().held = true;
    for (int i = 0; i < 10; ++i) client.request(Command::read, 0, 4096);
    bench_.simulator.run_for(1'000'000);
    EXPECT_EQ(disk().running, 10U);
    client.hang_up();
    bench_.simulator.run_for(1'000'000'000);
    EXPECT_EQ(bench_.server.counters().connections, 1U);
    disk().release();
    bench_.simulator.run_for(1'000'000);
    EXPECT_EQ(bench_.server.counters().connections, 0U);
    EXPECT_EQ(bench_.server.counters().in_flight, 0U);
}

TEST_F(SessionTest, no_more_requests_run_beside_each_other_than_the_limit) {
    TestClient client = simple();
    disk().held = true;
    for (uint64_t i = 0; i < 300; ++i) client.request(Command::flush, 0, 0, 0, {}, i);
    bench_.simulator.run_for(1'000'000);
    EXPECT_EQ(disk().running, 256U);
    disk().release();
    for (uint64_t i = 0; i < 300; ++i) EXPECT_EQ(client.simple(i), 0U);
}

}  // namespace
}  // namespace stoa::nbd
