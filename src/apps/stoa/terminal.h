// The terminal that a command talks to, if it talks to one.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace stoa::cli {

// Standard output is a terminal: tables fit into it.
[[nodiscard]] bool output_is_terminal();
// Standard error is one: progress is shown.
[[nodiscard]] bool errors_are_terminal();
// Somebody can be asked.
[[nodiscard]] bool can_ask();
// Columns of the terminal, 0 if standard output is none; COLUMNS of the environment counts first.
[[nodiscard]] size_t output_width();
[[nodiscard]] size_t errors_width();

// Asks on standard error; true for an answer that begins with y.
[[nodiscard]] bool ask(std::string_view question);
// Without echo. Errors: invalid_argument (nobody can be asked), cancelled.
Result<std::string> ask_secret(std::string_view question);
// The first line of standard input.
Result<std::string> read_line();

// Keys come as they are typed until it is destroyed.
class RawTerminal {
public:
    // None if standard input is no terminal.
    static std::unique_ptr<RawTerminal> enter();
    RawTerminal(const RawTerminal&) = delete;
    RawTerminal& operator=(const RawTerminal&) = delete;
    ~RawTerminal();

private:
    struct Saved;
    explicit RawTerminal(std::unique_ptr<Saved> saved);
    std::unique_ptr<Saved> saved_;
};

}  // namespace stoa::cli
