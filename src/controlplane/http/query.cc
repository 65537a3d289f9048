#include "controlplane/http/query.h"

#include <charconv>

namespace stoa::http::query_detail {

Json value_of(std::string_view type, const std::string& text) {
    if (type == "boolean") {
        // "?now" alone means true.
        if (text == "true" || text.empty()) return true;
        if (text == "false") return false;
    } else if (type == "integer") {
        uint64_t number = 0;
        const char* const end = text.data() + text.size();
        const auto [stop, error] = std::from_chars(text.data(), end, number);
        if (error == std::errc() && stop == end && !text.empty()) return number;
    }
    return Json(text);  // from_json says what is wrong with it
}

}  // namespace stoa::http::query_detail
