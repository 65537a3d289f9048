// What the checks of specs have in common. Inside of this folder.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "base/result.h"

namespace stoa::model {

// invalid_argument, "FIELD: MESSAGE".
[[nodiscard]] Error wrong_field(std::string_view field, std::string_view message);
[[nodiscard]] Result<void> check_range(std::string_view field, uint64_t value, uint64_t low,
                                       uint64_t high);
// check_name(), and that it was not in `taken`, where it is put.
[[nodiscard]] Result<void> check_unique_name(std::string_view field, const std::string& name,
                                             std::set<std::string>& taken);
// Up to `bytes_max` of UTF-8 in one line.
[[nodiscard]] Result<void> check_line(std::string_view field, std::string_view text,
                                      size_t bytes_max);
// Four numbers, "10.7.0.2".
[[nodiscard]] bool is_ipv4(std::string_view text);
// "1 GiB", "1536 MiB", "1000 bytes": exact.
[[nodiscard]] std::string size_text(uint64_t bytes);

}  // namespace stoa::model
