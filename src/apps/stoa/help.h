// Help, made of the table of verbs.
#pragma once

#include <string>
#include <string_view>

#include "apps/stoa/verbs.h"

namespace stoa::cli {

// `width_max`: of lines.
[[nodiscard]] std::string program_help(size_t width_max);
[[nodiscard]] std::string noun_help(const Noun& noun, size_t width_max);
[[nodiscard]] std::string verb_help(const Verb& verb, size_t width_max);
// "stoa vm create NAME [--image IMAGE] ...".
[[nodiscard]] std::string usage_of(const Verb& verb);
// docs/guide/cli.md.
[[nodiscard]] std::string markdown();

}  // namespace stoa::cli
