// Looking into answers of QEMU and of guest agents: what is not there, or of another type, is none.
// (Described structs are stricter: an unknown field is an error there, and here it is a newer
// QEMU.)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"

namespace stoa::qemu {

// nullptr: `value` is no object, or has no such member. The result lives as long as `value`.
[[nodiscard]] const Json* member(const Json* value, std::string_view name);

[[nodiscard]] std::optional<std::string> text_at(const Json& value, std::string_view name);
[[nodiscard]] std::optional<bool> bool_at(const Json& value, std::string_view name);
[[nodiscard]] std::optional<int64_t> integer_at(const Json& value, std::string_view name);
// None if it is negative.
[[nodiscard]] std::optional<uint64_t> unsigned_at(const Json& value, std::string_view name);
// Empty if there is none. The result lives as long as `value`.
[[nodiscard]] const JsonArray& array_at(const Json& value, std::string_view name);

}  // namespace stoa::qemu
