// From words of a command line to an invocation of the table's verbs.
#pragma once

#include <string>
#include <vector>

#include "apps/stoa/verbs.h"
#include "base/result.h"

namespace stoa::cli {

// What is to be done with the words.
enum class Wish : uint8_t { run, help, version };

struct Parsed {
    Wish wish = Wish::run;
    std::string noun;  // help: of this noun, or of the verb if there is one
    Invocation invocation;
};

// `words` without the program's name. Errors: invalid_argument, with what was perhaps meant.
Result<Parsed> parse_words(const std::vector<std::string>& words);

// The known word that `word` was perhaps meant to be; empty if none is near.
[[nodiscard]] std::string_view nearest(std::string_view word,
                                       const std::vector<std::string_view>& known);

}  // namespace stoa::cli
