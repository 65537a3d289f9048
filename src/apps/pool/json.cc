#include "apps/pool/json.h"

#include "base/utf8.h"

namespace stoa::apps::pool {

std::string JsonObject::quote(std::string_view value) {
    const bool text = is_utf8(value);
    std::string quoted = "\"";
    for (const char c : value) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7F || (!text && byte > 0x7F)) {
            quoted += fmt::format("\\u{:04x}", byte);
        } else {
            if (c == '"' || c == '\\') quoted += '\\';
            quoted += c;
        }
    }
    return quoted + '"';
}

std::string json_array(const std::vector<std::string>& parts) {
    return fmt::format("[{}]", fmt::join(parts, ","));
}

}  // namespace stoa::apps::pool
