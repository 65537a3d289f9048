// Lines out of a stream of bytes that somebody else controls.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace stoa::qemu {

struct LineRules {
    size_t line_bytes_max = size_t{1} << 20;
    // The byte 0xFF, which no text in UTF-8 has, throws away what its line had so far.
    bool starts_anew_at_ff = false;
};

class LineBuffer {
public:
    explicit LineBuffer(LineRules rules) : rules_(rules) {}

    // Holds at most line_bytes_max beyond the lines that were not taken.
    void add(std::string_view bytes);
    // The next whole line, without its end. A line that is too long is out_of_range, once; it is
    // skipped.
    [[nodiscard]] std::optional<Result<std::string>> next();

private:
    void add_to_line(std::string_view bytes);

    LineRules rules_;
    std::string line_;  // not yet ended
    bool is_long_ = false;  // ... and longer than allowed: its bytes are thrown away
    std::deque<std::optional<std::string>> ended_;  // none: it was too long
};

}  // namespace stoa::qemu
