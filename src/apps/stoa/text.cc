#include "apps/stoa/text.h"

#include <algorithm>
#include <numeric>

namespace stoa::cli {

namespace {

constexpr size_t kGap = 2;
constexpr size_t kColumnMin = 6;  // narrower ones tell nothing

bool starts_character(char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80; }

}  // namespace

size_t width_of(std::string_view text) {
    return static_cast<size_t>(std::ranges::count_if(text, starts_character));
}

std::string cut(std::string_view text, size_t width_max) {
    if (width_of(text) <= width_max) return std::string(text);
    if (width_max == 0) return {};
    size_t at = 0;
    for (size_t left = width_max; at < text.size(); ++at) {
        if (starts_character(text[at]) && left-- == 1) break;
    }
    return std::string(text.substr(0, at)) + "…";
}

std::string wrap(std::string_view text, size_t indent, size_t width_max) {
    std::string lines;
    size_t used = indent;
    size_t at = 0;
    while (at < text.size()) {
        const size_t end = std::min(text.find(' ', at), text.size());
        const std::string_view word = text.substr(at, end - at);
        const size_t width = width_of(word);
        if (used > indent && used + 1 + width > width_max) {
            lines += '\n';
            lines.append(indent, ' ');
            used = indent;
        } else if (used > indent) {
            lines += ' ';
            ++used;
        }
        lines += word;
        used += width;
        at = end + 1;
    }
    return lines;
}

std::vector<size_t> Table::widths(size_t width_max, bool with_titles) const {
    std::vector<size_t> widths;
    for (size_t i = 0; i < columns_.size(); ++i) {
        size_t width = with_titles ? width_of(columns_[i].title) : 0;
        for (const auto& row : rows_) width = std::max(width, width_of(row[i]));
        widths.push_back(width);
    }
    if (width_max == 0 || widths.empty()) return widths;
    const auto total = [&] {
        return std::accumulate(widths.begin(), widths.end(), size_t{0}) +
               kGap * (widths.size() - 1);
    };
    while (total() > width_max) {
        size_t widest = columns_.size();
        for (size_t i = 0; i < columns_.size(); ++i) {
            const bool may = !columns_[i].is_fixed &&
                             widths[i] > std::max(kColumnMin, width_of(columns_[i].title));
            if (may && (widest == columns_.size() || widths[i] > widths[widest])) widest = i;
        }
        if (widest == columns_.size()) break;
        --widths[widest];
    }
    return widths;
}

std::string Table::to_text(size_t width_max, size_t indent, bool with_titles) const {
    const std::vector<size_t> wide =
        widths(width_max > indent ? width_max - indent : width_max, with_titles);
    std::string text;
    const auto write_row = [&](const auto& cell_of) {
        std::string line(indent, ' ');
        for (size_t i = 0; i < columns_.size(); ++i) {
            const std::string cell = cut(cell_of(i), wide[i]);
            const size_t space = wide[i] - width_of(cell);
            if (i > 0) line.append(kGap, ' ');
            if (columns_[i].is_number) line.append(space, ' ');
            line += cell;
            if (!columns_[i].is_number) line.append(space, ' ');
        }
        line.erase(line.find_last_not_of(' ') + 1);
        text += line + '\n';
    };
    if (with_titles) write_row([&](size_t i) { return columns_[i].title; });
    for (const auto& row : rows_) write_row([&](size_t i) { return row[i]; });
    return text;
}

}  // namespace stoa::cli
