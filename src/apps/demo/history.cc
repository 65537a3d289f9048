#include "apps/demo/history.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

namespace stoa::apps::demo {

namespace {

constexpr size_t kFaultsToldMax = 5;

void add_fault(Verdict& verdict, std::string text) {
    if (++verdict.fault_count <= kFaultsToldMax) verdict.faults.push_back(std::move(text));
}

}  // namespace

uint64_t History::acknowledged() const {
    return static_cast<uint64_t>(std::ranges::count(events_, EventKind::write_acknowledged,
                                                    [](const Event& event) { return event.kind; }));
}

std::vector<History::Write> History::writes() const {
    std::vector<Write> writes(1);  // version 0: the zeros of a new volume
    writes[0].blocks = blocks_;
    writes[0].started = 0;
    for (size_t i = 0; i < events_.size(); ++i) {
        const Event& event = events_[i];
        if (event.kind != EventKind::write_started && event.kind != EventKind::write_acknowledged) {
            continue;
        }
        if (event.number >= writes.size()) writes.resize(event.number + 1);
        Write& write = writes[event.number];
        write.first = event.first;
        write.blocks = event.blocks;
        if (event.kind == EventKind::write_started) write.started = i;
        else write.acknowledged = i;
    }
    return writes;
}

size_t History::last_flush_began() const {
    std::unordered_map<uint64_t, size_t> began;
    size_t last = 0;
    for (size_t i = 0; i < events_.size(); ++i) {
        if (events_[i].kind == EventKind::flush_started) began[events_[i].number] = i;
        if (events_[i].kind == EventKind::flush_acknowledged) {
            last = std::max(last, began[events_[i].number]);
        }
    }
    return last;
}

Verdict History::judge(const std::vector<std::optional<uint64_t>>& found, Crash crash) const {
    const std::vector<Write> all = writes();
    Verdict verdict;
    const size_t flushed_until = last_flush_began();
    size_t cut = crash == Crash::process ? events_.size() : flushed_until;
    std::vector<bool> present(all.size());
    for (uint64_t block = 0; block < blocks_; ++block) {
        const auto version = found[block];
        if (!version) {
            add_fault(verdict, fmt::format("block {} is torn or foreign", block));
            continue;
        }
        const Write* write = *version < all.size() ? &all[*version] : nullptr;
        if (write == nullptr || !write->started || block < write->first ||
            block - write->first >= write->blocks) {
            add_fault(verdict, fmt::format("block {} holds version {}, which was never written "
                                           "there",
                                           block, *version));
            continue;
        }
        present[*version] = true;
        cut = std::max(cut, *write->started);
    }
    std::vector<uint64_t> wanted(blocks_, 0);  // at least this version
    std::vector<uint64_t> newest(blocks_, 0);  // acknowledged
    for (uint64_t version = 1; version < all.size(); ++version) {
        const Write& write = all[version];
        if (!write.acknowledged) {
            if (write.started) ++verdict.in_flight;
            continue;
        }
        ++verdict.acknowledged;
        if (*write.acknowledged > flushed_until) ++verdict.unflushed;
        for (uint64_t block = write.first; block < write.first + write.blocks; ++block) {
            newest[block] = version;
            if (*write.acknowledged < cut) wanted[block] = version;
        }
    }
    for (uint64_t block = 0; block < blocks_; ++block) {
        if (found[block] && *found[block] < wanted[block]) {
            add_fault(verdict, fmt::format("block {} holds version {}, but {} was acknowledged",
                                           block, *found[block], wanted[block]));
        }
    }
    for (uint64_t version = 1; version < all.size(); ++version) {
        const Write& write = all[version];
        bool is_newest = false;
        for (uint64_t i = 0; i < write.blocks; ++i) {
            is_newest = is_newest || newest[write.first + i] == version;
        }
        const bool missing = write.acknowledged && is_newest && !present[version];
        bool overtaken = true;  // by a write in flight
        for (uint64_t i = 0; missing && i < write.blocks; ++i) {
            const auto version_here = found[write.first + i];
            if (version_here && *version_here < version) overtaken = false;
        }
        if (missing && !overtaken) ++verdict.lost;
    }
    return verdict;
}

}  // namespace stoa::apps::demo
