// Linux kernel modules: which they need, and in which order they are loaded.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace stoa::image {

// The modules that a module needs, out of the `depends=` of its .modinfo. Names have underscores.
// Errors: corrupt (it has none).
Result<std::vector<std::string>> module_needs(std::string_view module_file);

// "path/virtio-rng.ko" -> "virtio_rng".
[[nodiscard]] std::string module_name(std::string_view path);

// `wanted` and all that they need, each after what it needs. Errors: corrupt (a circle).
// `needs` has an entry for each module that there is; one that is missing is taken as built in.
Result<std::vector<std::string>> load_order(
    const std::vector<std::string>& wanted,
    const std::map<std::string, std::vector<std::string>>& needs);

}  // namespace stoa::image
