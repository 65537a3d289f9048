// What a list shows of each kind: data.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "apps/stoa/context.h"

namespace stoa::cli {

enum class Format : uint8_t {
    text,
    name,      // with what it belongs to: "fast/data"
    size,      // bytes
    age,       // a time, as how long ago it was
    time,      // a time
    reference, // an id; `plural` says of what
    count,     // of an array
    list,      // an array of texts, joined
    yes,       // "yes" or nothing
    made,      // by `make`
};

struct Column {
    std::string_view title = {};
    Format format = Format::text;
    std::string_view path = {};    // in the record
    std::string_view plural = {};  // Format::reference
    std::string (*make)(Context& context, const Json& record) = nullptr;
    bool is_number = false;
};

// Empty for kinds that are not listed.
[[nodiscard]] std::span<const Column> columns_of(std::string_view noun);

// One cell; "-" where there is nothing.
[[nodiscard]] std::string cell_of(Context& context, std::string_view noun, const Column& column,
                                  const Json& record);

// Addresses of a VM, separated by commas, as networks gave them out.
[[nodiscard]] std::string addresses_of(Context& context, const Json& vm);

}  // namespace stoa::cli
