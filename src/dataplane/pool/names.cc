#include "dataplane/pool/names.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/utf8.h"
#include "base/uuid.h"
#include "dataplane/pool/limits.h"

namespace stoa::pool {

namespace {

Error refusal(const std::string& name, const char* what, const std::string& why) {
    constexpr size_t kShownBytesMax = 100;
    const size_t shown = std::min(name.size(), kShownBytesMax);
    return Error(ErrorCode::invalid_argument,
                 fmt::format("'{}{}' is no {} name: {}", to_plain_text(name.substr(0, shown)),
                             shown < name.size() ? "…" : "", what, why));
}

Result<void> check_text(const std::string& name, const char* what, size_t bytes_max) {
    if (name.empty() || name.size() > bytes_max) {
        return refusal(name, what,
                       fmt::format("it has {} bytes, allowed are 1 to {}", name.size(), bytes_max));
    }
    if (const size_t valid = utf8_bytes(name); valid < name.size()) {
        return refusal(name, what, fmt::format("it is not UTF-8 from byte {} on", valid + 1));
    }
    if (const size_t at = find_control(name); at != std::string::npos) {
        const auto byte = static_cast<unsigned char>(name[at]);
        const std::string character = byte < 0x80 ? fmt::format("0x{:02x}", byte)
                                                  : fmt::format("U+{:04X}", name[at + 1] & 0xFF);
        return refusal(name, what,
                       fmt::format("byte {} is a control character ({})", at + 1, character));
    }
    return {};
}

}  // namespace

Result<void> check_name(const std::string& name, const char* what) {
    TRY(check_text(name, what, kNameBytesMax));
    if (name.find_first_of("/@") != std::string::npos) {
        return refusal(name, what, "'/' and '@' are not allowed in it");
    }
    if (Uuid::parse(name).ok()) return refusal(name, what, "it is a UUID, which may be another's");
    return {};
}

Result<void> check_pool_name(const std::string& name) {
    return check_text(name, "pool", kPoolNameBytesMax);
}

}  // namespace stoa::pool
