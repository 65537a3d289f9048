// What must be asked of the daemon so that a record becomes what a document says.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace stoa::cli {

struct Difference {
    JsonObject patch;  // the body of a PATCH; empty: nothing differs
    std::vector<std::string> lines;  // for people: "memory_bytes: 256 MiB -> 512 MiB"
};

// `wanted` is a record (with a spec), a spec, or a request to create. Fields that a record's spec
// does not have count only when it is made. `volumes`: to know how large disks are.
[[nodiscard]] Difference difference(std::string_view noun, const Json& record,
                                    const JsonObject& wanted, const JsonArray& volumes);

// name, labels and all fields of spec of a document, in one object: a request to create.
[[nodiscard]] JsonObject flatten(const JsonObject& document);

}  // namespace stoa::cli
