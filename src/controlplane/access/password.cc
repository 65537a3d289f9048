#include "controlplane/access/password.h"

#include <argon2.h>
#include <fmt/format.h>

#include "base/utf8.h"

namespace stoa::access {

namespace {

constexpr uint32_t kPasses = 2;
constexpr uint32_t kMemoryKib = 19'456;
constexpr uint32_t kLanes = 1;
constexpr size_t kHashBytes = 32;
constexpr size_t kEncodedBytesMax = 256;

// Of no password: what unknown users are compared with.
const std::string& nobody() {
    static const std::string kNobody = [] {
        const auto hash = hash_password("nobody has this password", Salt{});
        return hash.ok() ? *hash : std::string();
    }();
    return kNobody;
}

}  // namespace

Result<void> check_password(std::string_view password) {
    if (password.size() < kPasswordBytesMin || password.size() > kPasswordBytesMax ||
        !is_utf8(password)) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("password: must be {} to {} bytes of UTF-8", kPasswordBytesMin,
                                 kPasswordBytesMax));
    }
    return {};
}

Result<std::string> hash_password(std::string_view password, const Salt& salt) {
    std::string encoded(kEncodedBytesMax, '\0');
    const int code =
        argon2id_hash_encoded(kPasses, kMemoryKib, kLanes, password.data(), password.size(),
                              salt.data(), salt.size(), kHashBytes, encoded.data(), encoded.size());
    if (code != ARGON2_OK) {
        return Error(ErrorCode::no_space,
                     fmt::format("password: cannot be hashed: {}", argon2_error_message(code)));
    }
    encoded.resize(encoded.find('\0'));
    return encoded;
}

bool verify_password(std::string_view password, std::string_view hash) {
    const bool is_known = !hash.empty();
    const std::string against = is_known ? std::string(hash) : nobody();
    const std::string_view tried = password.substr(0, kPasswordBytesMax);
    const bool is_right = argon2id_verify(against.c_str(), tried.data(), tried.size()) == ARGON2_OK;
    return is_right && is_known && password.size() <= kPasswordBytesMax;
}

}  // namespace stoa::access
