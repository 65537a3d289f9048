#include "dataplane/pool/names.h"

#include <algorithm>

#include <fmt/format.h>

#include "dataplane/pool/limits.h"

namespace stoa::pool {

Result<void> check_name(const std::string& name, const char* what) {
    const bool printable = std::ranges::all_of(name, [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte >= 0x20 && byte != 0x7F;
    });
    if (name.empty() || name.size() > kNameBytesMax || !printable ||
        name.find_first_of("/@") != std::string::npos) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("'{}' is no {} name: 1 to {} bytes, without control characters, "
                                 "'/' and '@'",
                                 printable ? name : "?", what, kNameBytesMax));
    }
    return {};
}

}  // namespace stoa::pool
