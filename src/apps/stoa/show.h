// Records for people: lists as tables, one record with all that is known of it.
#pragma once

#include "apps/stoa/context.h"

namespace stoa::cli {

// As wished: table, JSON, YAML or ids.
void show_list(Context& context, std::string_view noun, const JsonArray& records);
void show_records(Context& context, std::string_view noun, const JsonArray& records);

// Any object, field by field: "_bytes", "_ns" and "_seconds" are written with their units, ids as
// names, empty ones left out. For what is no record, too.
[[nodiscard]] std::string describe(Context& context, const Json& object, size_t indent);

}  // namespace stoa::cli
