// What may be in the pool after a kill, from what the child reported.
//
// Operations in flight never overlap in a sector, so each sector has one order of versions; a
// crash leaves one of them. The rules:
// - daemon killed, ring kept: nothing acknowledged is missing;
// - ring lost too: all volumes are at one cut of the order of changes. A change is certainly
//   before another one if it was acknowledged before that one started. So: if anything is there,
//   everything acknowledged before it started is there; a completed flush, forced write, snapshot
//   or deletion counts as being there;
// - a snapshot is such a cut between its start and its acknowledgement, in all its volumes;
// - inside a block of 4096 bytes an operation is there or not, never in part.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/kill/events.h"
#include "tests/kill/pattern.h"

namespace stoa::killtest {

// A version for every sector.
using Content = std::vector<Version>;

// One tree of each volume that takes part; the others are empty.
using Contents = std::array<Content, kVolumes>;

// Everything found in the pool, or expected in it.
struct State {
    Contents heads;
    std::map<uint64_t, Contents> snapshots;  // by the id of the operation that made them
};

class Model {
public:
    Model();

    // In the order of the pipe. Only one child works between two checks.
    void take(const Event& event);
    // Everything acknowledged so far is in the pool even if the ring is lost.
    void settle() { settled_ = position_; }

    // What is wrong with `found`; nothing if it may be. `ring_kept`: nothing acknowledged is lost.
    [[nodiscard]] std::vector<std::string> check(const State& found, bool ring_kept) const;
    // `found` is what all further operations work on.
    void restart_from(State found);

    // Snapshots that are there: by id, a bit for each volume.
    [[nodiscard]] std::map<uint64_t, uint8_t> snapshots() const;
    [[nodiscard]] uint64_t next_id() const { return next_id_; }
    [[nodiscard]] uint64_t acknowledged() const { return acknowledged_; }
    [[nodiscard]] uint64_t in_flight() const;

private:
    static constexpr uint64_t kNever = UINT64_MAX;

    struct Operation {
        Event event;
        uint64_t started = 0;  // position among the events
        uint64_t acknowledged = kNever;
        [[nodiscard]] bool covers(uint64_t sector) const {
            return sector >= event.first_sector && sector < event.first_sector + event.sectors;
        }
        [[nodiscard]] Version version() const {
            return event.operation == OperationKind::write ? event.id : 0;
        }
    };
    // What a cut has to hold: changes acknowledged before `floor`, and durable ones.
    struct Cut {
        uint64_t floor = 0;
        uint64_t ceiling = kNever;  // changes started later are not in it
        bool durable = true;  // acknowledged forced writes are in it
    };
    // The first and the last of a sector's versions that the found one can be: 0 is the state at
    // restart_from(), i the i-th operation on it.
    struct Range {
        size_t low = 0;
        size_t high = 0;
        bool known = false;
    };
    struct Checked {
        std::vector<std::string>* problems = nullptr;
        std::string what;
    };

    [[nodiscard]] Range range_of(size_t volume, uint64_t sector, Version found,
                                 const Cut& cut) const;
    void raise_floor(const Contents& found, Cut& cut) const;
    void check_cut(const Contents& found, Cut cut, const Checked& to) const;
    void check_sectors(size_t volume, const Content& found, const Cut& cut,
                       const Checked& to) const;
    void check_blocks(size_t volume, const Content& found, const Cut& cut, const Checked& to) const;
    void check_names(const State& found, const Checked& to) const;
    void check_kept_snapshot(uint64_t id, const Contents& found, const Checked& to) const;
    [[nodiscard]] uint64_t removed_from(uint64_t snapshot, bool acknowledged_only) const;

    State base_;
    uint64_t position_ = 0;
    uint64_t settled_ = 0;
    uint64_t next_id_ = 1;
    uint64_t acknowledged_ = 0;
    std::vector<Operation> operations_;
    std::map<uint64_t, size_t> by_id_;
    // Of each volume and sector: the operations on it, indexes in order.
    std::array<std::vector<std::vector<uint32_t>>, kVolumes> history_;
};

}  // namespace stoa::killtest
