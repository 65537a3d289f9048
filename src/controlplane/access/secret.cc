#include "controlplane/access/secret.h"

#include <array>
#include <cstddef>

#include <fmt/format.h>
#include <openssl/sha.h>

namespace stoa::access {

namespace {

std::array<unsigned char, SHA256_DIGEST_LENGTH> digest(std::string_view bytes) {
    std::array<unsigned char, SHA256_DIGEST_LENGTH> out{};
    SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), out.data());
    return out;
}

}  // namespace

std::string new_token(std::string_view kind, host::Random& random) {
    std::array<std::byte, 32> bits{};
    random.fill(bits);
    std::string token = fmt::format("stoa-{}-", kind);
    for (const std::byte byte : bits) token += fmt::format("{:02x}", static_cast<uint8_t>(byte));
    return token;
}

std::string hash_token(std::string_view token) {
    std::string text;
    for (const unsigned char byte : digest(token)) text += fmt::format("{:02x}", byte);
    return text;
}

std::string fingerprint_of(std::string_view bytes) {
    std::string text;
    for (const unsigned char byte : digest(bytes)) {
        text += fmt::format("{}{:02X}", text.empty() ? "" : ":", byte);
    }
    return text;
}

}  // namespace stoa::access
