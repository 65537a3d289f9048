// Vectors of RFC 3720, appendix B.4. The RFC prints CRCs as bytes on the wire, low byte first.
#include "base/crc32c.h"

#include <array>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace stoa {
namespace {

std::vector<std::byte> counting(size_t count, int first, int step) {
    std::vector<std::byte> bytes;
    for (size_t i = 0; i < count; ++i) {
        bytes.push_back(static_cast<std::byte>(first + static_cast<int>(i) * step));
    }
    return bytes;
}

TEST(Crc32c, rfc_3720_zeroes) { EXPECT_EQ(crc32c(counting(32, 0, 0)), 0x8a9136aaU); }

TEST(Crc32c, rfc_3720_ones) { EXPECT_EQ(crc32c(counting(32, 0xff, 0)), 0x62a8ab43U); }

TEST(Crc32c, rfc_3720_incrementing) { EXPECT_EQ(crc32c(counting(32, 0, 1)), 0x46dd794eU); }

TEST(Crc32c, rfc_3720_decrementing) { EXPECT_EQ(crc32c(counting(32, 31, -1)), 0x113fdb5cU); }

TEST(Crc32c, rfc_3720_scsi_read_command) {
    std::vector<std::byte> pdu(48);
    pdu[0] = std::byte{0x01};
    pdu[1] = std::byte{0xc0};
    pdu[16] = std::byte{0x14};
    pdu[22] = std::byte{0x04};
    pdu[27] = std::byte{0x14};
    pdu[31] = std::byte{0x18};
    pdu[32] = std::byte{0x28};
    pdu[40] = std::byte{0x02};
    EXPECT_EQ(crc32c(pdu), 0xd9963a56U);
}

TEST(Crc32c, check_value_of_the_catalogue) {
    const std::string_view digits = "123456789";
    EXPECT_EQ(crc32c(std::as_bytes(std::span(digits))), 0xe3069283U);
}

TEST(Crc32c, empty_is_zero_and_keeps_the_previous_value) {
    EXPECT_EQ(crc32c({}), 0U);
    EXPECT_EQ(crc32c({}, 0x12345678), 0x12345678U);
}

TEST(Crc32c, continues_over_pieces_cut_anywhere) {
    const std::vector<std::byte> whole = counting(300, 7, 13);
    const uint32_t expected = crc32c(whole);
    for (size_t cut = 0; cut <= whole.size(); ++cut) {
        const ConstBytes bytes(whole);
        EXPECT_EQ(crc32c(bytes.subspan(cut), crc32c(bytes.first(cut))), expected) << "cut " << cut;
    }
}

}  // namespace
}  // namespace stoa
