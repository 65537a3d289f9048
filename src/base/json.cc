#include "base/json.h"

#include <fmt/format.h>
#include <boost/json/error.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/stream_parser.hpp>

#include <algorithm>
#include <cmath>

#include "base/utf8.h"

namespace stoa {

namespace {

// Names and tags may come from a device that somebody else has written: JSON is UTF-8 all the same.
std::string serialized(const Json& value) {
    std::string text = boost::json::serialize(value);
    return is_utf8(text) ? text : to_utf8(text);
}

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
            out += serialized(Json(member.key()));
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
        out += serialized(value);
    }
}

// JSON knows no infinity, and what is beyond a double would be read as one.
bool is_finite(const Json& value) {
    if (const double* number = value.if_double()) return std::isfinite(*number);
    if (const JsonArray* array = value.if_array()) return std::ranges::all_of(*array, is_finite);
    const JsonObject* object = value.if_object();
    return object == nullptr || std::ranges::all_of(*object, [](const auto& member) {
               return is_finite(member.value());
           });
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
    Json value = parser.release();
    if (!is_finite(value)) {
        return Error(ErrorCode::invalid_argument, "JSON: a number is too large for a double");
    }
    return value;
}

std::string to_text(const Json& value) { return serialized(value); }

std::string to_pretty_text(const Json& value) {
    std::string text;
    write_pretty(value, 0, text);
    return text;
}

}  // namespace stoa
