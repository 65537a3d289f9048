// What one side encodes the other decodes, and bytes that nobody encoded are survived.
#include "dataplane/serve/nbd/wire.h"

#include <random>

#include <gtest/gtest.h>

namespace stoa::nbd {
namespace {

std::string hex(ConstBytes bytes) {
    std::string text;
    for (const std::byte each : bytes) {
        constexpr std::string_view kDigits = "0123456789abcdef";
        text += kDigits[std::to_integer<size_t>(each) >> 4];
        text += kDigits[std::to_integer<size_t>(each) & 15];
    }
    return text;
}

TEST(WireTest, numbers_are_big_endian) {
    std::array<std::byte, 8> bytes{};
    store_be(bytes.data(), uint64_t{0x0102030405060708});
    EXPECT_EQ(hex(bytes), "0102030405060708");
    EXPECT_EQ(load_be<uint64_t>(bytes.data()), 0x0102030405060708U);
    EXPECT_EQ(load_be<uint32_t>(bytes.data()), 0x01020304U);
    EXPECT_EQ(load_be<uint16_t>(bytes.data() + 6), 0x0708U);
}

TEST(WireTest, a_request_has_28_bytes_as_the_specification_draws_them) {
    std::array<std::byte, kRequestBytes> bytes{};
    const Request request{kFua | kNoHole, static_cast<uint16_t>(Command::write_zeroes),
                          0x1122334455667788, 0x1000, 0x200};
    encode_request(bytes.data(), request);
    EXPECT_EQ(hex(bytes),
              "25609513"          // magic
              "0003"
              "0006"       // flags, type
              "1122334455667788"  // cookie
              "0000000000001000"  // offset
              "00000200");        // length
    const auto decoded = decode_request(bytes);
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->flags, request.flags);
    EXPECT_EQ(decoded->command, request.command);
    EXPECT_EQ(decoded->cookie, request.cookie);
    EXPECT_EQ(decoded->offset_bytes, request.offset_bytes);
    EXPECT_EQ(decoded->length_bytes, request.length_bytes);
    bytes[0] = std::byte{0};
    EXPECT_FALSE(decode_request(bytes));
}

TEST(WireTest, replies_carry_the_cookie_they_were_given) {
    std::array<std::byte, kSimpleReplyBytes> simple{};
    encode_simple_reply(simple.data(), WireError::no_space, 0xAABB);
    EXPECT_EQ(hex(simple),
              "67446698"
              "0000001c"
              "000000000000aabb");
    std::array<std::byte, kChunkHeaderBytes> chunk{};
    encode_chunk_header(chunk.data(),
                        {kChunkDone, static_cast<uint16_t>(Chunk::error_offset), 0xAABB, 14});
    EXPECT_EQ(hex(chunk),
              "668e33ef"
              "0001"
              "8002"
              "000000000000aabb"
              "0000000e");
    const auto decoded = decode_chunk_header(chunk);
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->flags, kChunkDone);
    EXPECT_EQ(static_cast<Chunk>(decoded->type), Chunk::error_offset);
    EXPECT_EQ(decoded->cookie, 0xAABBU);
    EXPECT_EQ(decoded->length_bytes, 14U);
    chunk[3] = std::byte{0};
    EXPECT_FALSE(decode_chunk_header(chunk));
}

TEST(WireTest, options_and_their_answers_go_both_ways) {
    const std::vector<std::byte> data(5, std::byte{'x'});
    Writer option;
    encode_option(option, Option::go, data);
    EXPECT_EQ(hex(option.bytes()),
              "49484156454f5054"
              "00000007"
              "00000005"
              "7878787878");
    const auto header = decode_option(option.bytes());
    ASSERT_TRUE(header);
    EXPECT_EQ(header->option, 7U);
    EXPECT_EQ(header->length_bytes, 5U);
    Writer reply;
    encode_option_reply(reply, 7, OptionReply::error_unknown, data);
    EXPECT_EQ(hex(reply.bytes()),
              "0003e889045565a9"
              "00000007"
              "80000006"
              "00000005"
              "7878787878");
    const auto answer = decode_option_reply(reply.bytes());
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->reply, OptionReply::error_unknown);
    EXPECT_TRUE(is_error(answer->reply));
    EXPECT_EQ(answer->length_bytes, 5U);
    EXPECT_FALSE(decode_option(reply.bytes()));
    EXPECT_FALSE(decode_option_reply(option.bytes()));
}

TEST(WireTest, data_of_info_and_of_contexts_go_both_ways) {
    Writer info;
    encode_info_request(info, {"disk", {0, 3}});
    EXPECT_EQ(hex(info.bytes()),
              "00000004"
              "6469736b"
              "0002"
              "0000"
              "0003");
    const auto wanted = decode_info_request(info.bytes());
    ASSERT_TRUE(wanted.ok());
    EXPECT_EQ(wanted->export_name, "disk");
    EXPECT_EQ(wanted->wanted, (std::vector<uint16_t>{0, 3}));
    Writer meta;
    encode_meta_request(meta, {"disk", {"base:", "x:y"}});
    EXPECT_EQ(hex(meta.bytes()),
              "00000004"
              "6469736b"
              "00000002"
              "00000005"
              "626173653a"
              "00000003"
              "783a79");
    const auto queries = decode_meta_request(meta.bytes());
    ASSERT_TRUE(queries.ok());
    EXPECT_EQ(queries->export_name, "disk");
    EXPECT_EQ(queries->queries, (std::vector<std::string>{"base:", "x:y"}));
}

TEST(WireTest, lengths_that_do_not_fit_are_refused) {
    Writer info;
    encode_info_request(info, {"disk", {0, 3}});
    Writer meta;
    encode_meta_request(meta, {"disk", {"base:", "x:y"}});
    const ConstBytes infos = info.bytes();
    const ConstBytes metas = meta.bytes();
    for (size_t size = 0; size < infos.size(); ++size) {
        EXPECT_FALSE(decode_info_request(infos.first(size)).ok()) << size;
    }
    for (size_t size = 0; size < metas.size(); ++size) {
        EXPECT_FALSE(decode_meta_request(metas.first(size)).ok()) << size;
    }
    info.put_zeroes(1);
    meta.put_zeroes(1);
    EXPECT_FALSE(decode_info_request(info.bytes()).ok());
    EXPECT_FALSE(decode_meta_request(meta.bytes()).ok());
    Writer longest;
    encode_info_request(longest, {std::string(kStringBytesMax, 'n'), {}});
    EXPECT_TRUE(decode_info_request(longest.bytes()).ok());
    Writer longer;
    encode_info_request(longer, {std::string(kStringBytesMax + 1, 'n'), {}});
    EXPECT_FALSE(decode_info_request(longer.bytes()).ok());
    Writer many;  // four billion queries in no bytes
    many.put(uint32_t{0}).put(UINT32_MAX);
    EXPECT_FALSE(decode_meta_request(many.bytes()).ok());
}

TEST(WireTest, any_bytes_are_survived) {
    std::mt19937_64 chance(7);
    for (int round = 0; round < 2000; ++round) {
        std::vector<std::byte> bytes(kRequestBytes + chance() % 100);
        for (std::byte& each : bytes) each = static_cast<std::byte>(chance() % 4);
        static_cast<void>(decode_option(bytes));
        static_cast<void>(decode_option_reply(bytes));
        static_cast<void>(decode_info_request(bytes));
        static_cast<void>(decode_meta_request(bytes));
        static_cast<void>(decode_request(bytes));
        static_cast<void>(decode_chunk_header(bytes));
    }
}

TEST(WireTest, errors_become_those_of_the_protocol) {
    EXPECT_EQ(to_wire(ErrorCode::no_space, true), WireError::no_space);
    EXPECT_EQ(to_wire(ErrorCode::read_only, true), WireError::io);
    EXPECT_EQ(to_wire(ErrorCode::out_of_range, true), WireError::no_space);
    EXPECT_EQ(to_wire(ErrorCode::out_of_range, false), WireError::invalid);
    EXPECT_EQ(to_wire(ErrorCode::invalid_argument, false), WireError::invalid);
    EXPECT_EQ(to_wire(ErrorCode::io, false), WireError::io);
    EXPECT_EQ(to_wire(ErrorCode::corrupt, false), WireError::io);
    EXPECT_EQ(to_wire(ErrorCode::cancelled, false), WireError::shutdown);
    for (const ErrorCode code :
         {ErrorCode::no_space, ErrorCode::io, ErrorCode::cancelled, ErrorCode::invalid_argument}) {
        EXPECT_EQ(from_wire(static_cast<uint32_t>(to_wire(code, true))), code);
    }
    EXPECT_EQ(from_wire(4711), ErrorCode::io);
}

}  // namespace
}  // namespace stoa::nbd
