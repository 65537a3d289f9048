#include "base/json.h"

#include <fmt/format.h>
#include <boost/json/error.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/stream_parser.hpp>

namespace stoa {

namespace {

void write_pretty(const Json& value, size_t depth, std::string& out) {
    const auto line = [&out](size_t indent) {
        out += '\n';
        out.append(2 * indent, ' ');
    };
    if (const JsonObject* object = value.if_object(); object != nullptr && !object->empty()) {
        out += '{';
        for (const auto& member : *object) {
            if (out.back() != '{') out += ',';
            line(depth + 1);
            out += boost::json::serialize(Json(member.key()));
            out += ": ";
            write_pretty(member.value(), depth + 1, out);
        }
        line(depth);
        out += '}';
    } else if (const JsonArray* array = value.if_array(); array != nullptr && !array->empty()) {
        out += '[';
        for (const Json& item : *array) {
            if (&item != array->begin()) out += ',';
            line(depth + 1);
            write_pretty(item, depth + 1, out);
        }
        line(depth);
        out += ']';
    } else {
        out += boost::json::serialize(value);
    }
}

}  // namespace

Result<Json> parse_json(std::string_view text) {
    boost::json::parse_options options;
    options.max_depth = kJsonDepthMax;
    boost::json::stream_parser parser({}, options);
    boost::json::error_code failed;
    size_t at = parser.write_some(text.data(), text.size(), failed);
    if (!failed && at < text.size()) failed = boost::json::error::extra_data;
    if (!failed) parser.finish(failed);
    if (failed) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("JSON: {} at byte {} of {}", failed.message(), at, text.size()));
    }
    return parser.release();
}

std::string to_text(const Json& value) { return boost::json::serialize(value); }

std::string to_pretty_text(const Json& value) {
    std::string text;
    write_pretty(value, 0, text);
    return text;
}

}  // namespace stoa
