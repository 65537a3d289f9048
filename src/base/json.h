// JSON (RFC 8259) values, and the way between them and described structs (describe.h).
//
// Integers are exact in 64 bits; other numbers are doubles, exact to 14 digits. Reading is strict:
// an unknown field, a wrong type, a number out of range and text that is not UTF-8 are errors that
// name the field ("volume.size_bytes").
#pragma once

#include <boost/json/value.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace stoa {

using Json = boost::json::value;
using JsonObject = boost::json::object;
using JsonArray = boost::json::array;

constexpr size_t kJsonDepthMax = 32;

// One whole document; of a key that appears twice the last one counts. Errors: invalid_argument
// (what, where).
Result<Json> parse_json(std::string_view text);
// Without white space; keys in their order. Bytes of a string that are not UTF-8: U+FFFD.
[[nodiscard]] std::string to_text(const Json& value);
// For people: indented by two.
[[nodiscard]] std::string to_pretty_text(const Json& value);

}  // namespace stoa
