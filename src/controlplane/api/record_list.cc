#include "controlplane/api/record_list.h"

#include <charconv>

#include <fmt/format.h>

#include "base/schema.h"
#include "base/utf8.h"
#include "controlplane/api/record_routes.h"
#include "controlplane/journal/entry.h"

namespace stoa::api {

namespace {

Error wrong(std::string_view parameter, std::string_view expected, std::string_view found) {
    return {ErrorCode::invalid_argument,
            fmt::format("\"{}\" must be {}, not \"{}\"", parameter, expected,
                        to_plain_text(utf8_prefix(found, 60)))};
}

}  // namespace

std::vector<http::Parameter> list_parameters() {
    const JsonObject boolean{{"type", "boolean"}};
    const JsonObject integer{{"type", "integer"}, {"minimum", 1}, {"maximum", kListMax}};
    return {{.name = "limit", .summary = "how many at most; 100 if left out", .schema = integer},
            {.name = "page", .summary = "\"next\" of the page before"},
            {.name = "label", .summary = "KEY or KEY=VALUE; all of them", .repeated = true},
            {.name = "name", .summary = "how the name begins"},
            {.name = "state", .summary = "such as running"},
            {.name = "newest_first", .summary = "instead of oldest first", .schema = boolean}};
}

Result<ListWanted> list_wanted(const http::Request& request) {
    ListWanted wanted;
    if (request.has("limit")) {
        const std::string text = request.option("limit");
        const char* const end = text.data() + text.size();
        const auto [stop, error] = std::from_chars(text.data(), end, wanted.limit);
        if (error != std::errc() || stop != end || wanted.limit < 1 || wanted.limit > kListMax) {
            return wrong("limit", fmt::format("a whole number from 1 to {}", kListMax), text);
        }
    }
    if (request.has("page")) {
        const std::string text = request.option("page");
        const Result<Uuid> id = Uuid::parse(text);
        if (!id.ok()) return wrong("page", "\"next\" of the page before", text);
        wanted.after = *id;
    }
    if (request.has("newest_first")) {
        const std::string text = request.option("newest_first");
        if (text != "true" && text != "false" && !text.empty()) {
            return wrong("newest_first", "true or false", text);
        }
        wanted.newest_first = text != "false";
    }
    wanted.name = request.option("name");
    wanted.state = request.option("state");
    const auto [first, last] = request.query.equal_range("label");
    for (auto at = first; at != last; ++at) {
        const size_t equals = at->second.find('=');
        std::optional<std::string> value;
        if (equals != std::string::npos) value = at->second.substr(equals + 1);
        wanted.labels.emplace_back(at->second.substr(0, equals), std::move(value));
    }
    return wanted;
}

Json list_answer(JsonArray items, const std::optional<Uuid>& next, size_t total) {
    JsonObject answer{{"items", std::move(items)}, {"total", total}};
    if (next) answer["next"] = next->to_string();
    return answer;
}

Json list_schema(Json item) {
    const JsonObject text{{"type", "string"}};
    const JsonObject integer{{"type", "integer"}};
    return JsonObject{
        {"type", "object"},
        {"required", JsonArray{"items", "total"}},
        {"properties",
         JsonObject{{"items", JsonObject{{"type", "array"}, {"items", std::move(item)}}},
                    {"next", text},
                    {"total", integer}}}};
}

Json entries_schema() {
    const JsonObject entries{{"type", "array"}, {"items", json_schema<journal::Entry>()}};
    return JsonObject{
        {"type", "object"},
        {"required", JsonArray{"items"}},
        {"properties", JsonObject{{"items", entries}, {"next", JsonObject{{"type", "integer"}}}}}};
}

}  // namespace stoa::api
