// Text on a terminal: widths, tables.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace stoa::cli {

// Places that printable UTF-8 text takes; each character counts as one.
[[nodiscard]] size_t width_of(std::string_view text);
// Cut to `width_max` places, with "…" at its end if something is missing.
[[nodiscard]] std::string cut(std::string_view text, size_t width_max);
// Words of `text` in lines of at most `width_max`, the second and later ones after `indent` spaces.
[[nodiscard]] std::string wrap(std::string_view text, size_t indent, size_t width_max);

// Columns under a heading. Text of others must have passed to_plain_text().
class Table {
public:
    struct Column {
        std::string title = {};
        bool is_number = false;  // to the right
        bool is_fixed = false;  // never cut
    };

    explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
    // One cell for each column.
    void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
    [[nodiscard]] bool empty() const { return rows_.empty(); }
    // Lines, two spaces between columns. `width_max` 0: as wide as it is; else the widest columns
    // are cut until all fits.
    [[nodiscard]] std::string to_text(size_t width_max, size_t indent = 0,
                                      bool with_titles = true) const;

private:
    [[nodiscard]] std::vector<size_t> widths(size_t width_max, bool with_titles) const;

    std::vector<Column> columns_;
    std::vector<std::vector<std::string>> rows_;
};

}  // namespace stoa::cli
