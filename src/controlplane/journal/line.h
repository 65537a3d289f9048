// An entry as a line of a journal file; docs/format/journal.md:
//
//     CRC32C SEQUENCE TIME_NS KIND SUBJECT {"text", "principal", "data"}\n
//
// What is before the JSON is enough to find entries without reading JSON. A line with a wrong
// checksum is damaged; the next one begins behind its line feed.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "controlplane/journal/entry.h"

namespace stoa::journal {

constexpr std::string_view kFirstLine = "stoa-journal 1\n";

// Makes an entry fit to be kept: cuts what is too long; in the subject '_' for what is no visible
// ASCII character.
void trim(Entry& entry);

// With its line feed. The entry was trimmed.
[[nodiscard]] std::string to_line(const Entry& entry);

// What the beginning of a line tells.
struct LineHead {
    uint64_t sequence = 0;
    int64_t time_ns = 0;
    Kind kind = Kind::event;
    std::string_view subject;  // into the line
    std::string_view rest;     // into the line
};
// `line` without its line feed. None: damaged.
[[nodiscard]] std::optional<LineHead> read_head(std::string_view line);
[[nodiscard]] std::optional<Entry> read_line(std::string_view line);

}  // namespace stoa::journal
