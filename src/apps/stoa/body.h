// From what was typed to the body and the query of a request.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "apps/stoa/verbs.h"
#include "base/json.h"
#include "base/result.h"

namespace stoa::cli {

// One option's or argument's words. Errors: invalid_argument, beginning with `name`.
Result<Json> to_value(Take take, std::string_view name, const std::vector<std::string>& words);

struct Body {
    JsonObject fields;
    std::string query;  // "now=true&keep_disks=true"
};

// All options and arguments of the verb that have a field. Errors: invalid_argument.
Result<Body> make_body(const Invocation& invocation);

// Puts `value` at "a.b.c", with the objects on the way.
void put_field(JsonObject& object, std::string_view path, Json value);
// What stands at "a.b.c"; null if nothing does.
[[nodiscard]] const Json* find_field(const Json& value, std::string_view path);
// The text there; a number or a boolean as it is written; empty if there is none.
[[nodiscard]] std::string text_at(const Json& value, std::string_view path);
[[nodiscard]] int64_t number_at(const Json& value, std::string_view path);

}  // namespace stoa::cli
