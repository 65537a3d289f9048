#include "base/uuid.h"

#include <cstring>

#include <fmt/format.h>

namespace stoa {

std::string Uuid::to_string() const {
    std::string text;
    text.reserve(36);
    for (size_t i = 0; i < bytes.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
        fmt::format_to(std::back_inserter(text), "{:02x}", static_cast<unsigned>(bytes[i]));
    }
    return text;
}

namespace {

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

}  // namespace

Result<Uuid> Uuid::parse(std::string_view text) {
    Uuid id;
    size_t at = 0;
    bool good = text.size() == 36;
    for (size_t i = 0; good && i < id.bytes.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) good = text[at++] == '-';
        if (!good) break;
        const int high = hex_digit(text[at]);
        const int low = hex_digit(text[at + 1]);
        at += 2;
        good = high >= 0 && low >= 0;
        if (good) id.bytes[i] = static_cast<std::byte>(high * 16 + low);
    }
    if (!good) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("'{}' is not a UUID (expected 8-4-4-4-12 hex digits)", text));
    }
    return id;
}

Uuid Uuid::from_random(uint64_t high, uint64_t low) {
    high = (high & ~uint64_t{0xf000}) | 0x4000;
    low = (low & ~(uint64_t{3} << 62)) | (uint64_t{2} << 62);
    Uuid id;
    for (size_t i = 0; i < 8; ++i) {
        id.bytes[i] = static_cast<std::byte>(high >> (56 - 8 * i));
        id.bytes[8 + i] = static_cast<std::byte>(low >> (56 - 8 * i));
    }
    return id;
}

size_t UuidHash::operator()(const Uuid& id) const {
    uint64_t a = 0;
    uint64_t b = 0;
    std::memcpy(&a, id.bytes.data(), 8);
    std::memcpy(&b, id.bytes.data() + 8, 8);
    return static_cast<size_t>(a * 0x9E3779B97F4A7C15ULL ^ b);
}

}  // namespace stoa
