// What a writer said it did before it died, and the judgement of what is found afterwards.
//
// The writer reports each event through a pipe, in the order in which it happened. Writes to one
// block never overlap in time, and versions only grow.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace stoa::apps::demo {

enum class EventKind : uint32_t {
    write_started = 1,
    write_acknowledged = 2,
    flush_started = 3,
    flush_acknowledged = 4,
};

struct Event {
    EventKind kind{};
    uint32_t blocks = 0;
    uint64_t first = 0;
    uint64_t number = 0;  // of a write: its version, from 1; of a flush: its number
};
static_assert(sizeof(Event) == 24);

enum class Crash : uint8_t {
    process,  // nothing acknowledged may be missing
    host,     // what was acknowledged after the last flush may be missing, newest first
};

struct Verdict {
    std::vector<std::string> faults;  // the first few
    uint64_t fault_count = 0;
    uint64_t acknowledged = 0;  // writes
    uint64_t unflushed = 0;     // of them: acknowledged after the last completed flush began
    uint64_t in_flight = 0;     // writes neither acknowledged nor not
    uint64_t lost = 0;          // of the unflushed, wholly missing though not overwritten
};

class History {
public:
    explicit History(uint64_t blocks) : blocks_(blocks) {}

    void add(const Event& event) { events_.push_back(event); }
    [[nodiscard]] uint64_t acknowledged() const;
    // `found`: for each block of the volume the version it holds; nothing: torn or foreign.
    // Rules: a version was written to that block; nothing that must be there is older; after a
    // host crash what is there is a cut: with a write goes everything acknowledged before it began.
    [[nodiscard]] Verdict judge(const std::vector<std::optional<uint64_t>>& found,
                                Crash crash) const;

private:
    struct Write {
        uint64_t first = 0;
        uint64_t blocks = 0;
        std::optional<size_t> started;  // index of the event
        std::optional<size_t> acknowledged;
    };
    [[nodiscard]] std::vector<Write> writes() const;  // by version
    [[nodiscard]] size_t last_flush_began() const;

    uint64_t blocks_;
    std::vector<Event> events_;
};

}  // namespace stoa::apps::demo
