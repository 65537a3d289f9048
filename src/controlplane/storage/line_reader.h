// LineReader: cuts what arrives into lines, of which none is longer than its maximum.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"

namespace stoa::storage {

class LineReader {
public:
    explicit LineReader(size_t line_bytes_max) : line_bytes_max_(line_bytes_max) {}

    // Calls `take(std::string_view)` for each line that `bytes` complete, without its end; the view
    // is valid until take() returns. Errors: out_of_range (a line is too long; nothing more can be
    // read), and that of take(), which ends the reading.
    template <class Take>
    Result<void> add(std::string_view bytes, const Take& take) {
        for (;;) {
            const size_t end = bytes.find('\n');
            const std::string_view part = bytes.substr(0, end);
            if (rest_.size() + part.size() > line_bytes_max_) return too_long();
            if (end == std::string_view::npos) {
                rest_ += part;
                return {};
            }
            bytes.remove_prefix(end + 1);
            if (rest_.empty()) {
                TRY(take(part));
                continue;
            }
            std::string line = std::move(rest_);
            rest_.clear();
            line += part;
            TRY(take(std::string_view(line)));
        }
    }

private:
    [[nodiscard]] Result<void> too_long() const;

    size_t line_bytes_max_;
    std::string rest_;
};

}  // namespace stoa::storage
