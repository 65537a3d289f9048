#include "tests/kill/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

namespace stoa::killtest {

namespace {

bool changes_sectors(OperationKind kind) {
    return kind == OperationKind::write || kind == OperationKind::discard ||
           kind == OperationKind::zero;
}

// A discard changes whole blocks only.
Event effective(Event event) {
    if (event.operation != OperationKind::discard) return event;
    const uint64_t end = (event.first_sector + event.sectors) / kBlockSectors * kBlockSectors;
    event.first_sector = (event.first_sector + kBlockSectors - 1) / kBlockSectors * kBlockSectors;
    event.sectors = end > event.first_sector ? end - event.first_sector : 0;
    return event;
}

uint8_t volumes_of(const Contents& contents) {
    unsigned mask = 0;
    for (size_t v = 0; v < kVolumes; ++v) mask |= contents[v].empty() ? 0U : 1U << v;
    return static_cast<uint8_t>(mask);
}

}  // namespace

Model::Model() {
    for (size_t v = 0; v < kVolumes; ++v) {
        base_.heads[v].assign(kVolumeSectors, 0);
        history_[v].resize(kVolumeSectors);
    }
}

void Model::take(const Event& event) {
    ++position_;
    if (event.kind == EventKind::opened || event.kind == EventKind::closed) settle();
    if (event.kind == EventKind::started) {
        const auto index = static_cast<uint32_t>(operations_.size());
        operations_.push_back({effective(event), position_, kNever});
        by_id_[event.id] = index;
        next_id_ = std::max(next_id_, event.id + 1);
        if (!changes_sectors(event.operation)) return;
        const Event& e = operations_.back().event;
        for (uint64_t s = 0; s < e.sectors; ++s) {
            history_[e.volumes][e.first_sector + s].push_back(index);
        }
    }
    if (event.kind == EventKind::acknowledged) {
        operations_[by_id_.at(event.id)].acknowledged = position_;
        ++acknowledged_;
    }
}

uint64_t Model::in_flight() const {
    return static_cast<uint64_t>(std::ranges::count_if(
        operations_, [](const Operation& o) { return o.acknowledged == kNever; }));
}

Model::Range Model::range_of(size_t volume, uint64_t sector, Version found, const Cut& cut) const {
    Range range;
    const auto consider = [&](size_t index, Version version) {
        if (version != found) return;
        if (!range.known) range.low = index;
        range.high = index;
        range.known = true;
    };
    consider(0, base_.heads[volume][sector]);
    const std::vector<uint32_t>& changes = history_[volume][sector];
    for (size_t i = 0; i < changes.size(); ++i) {
        const Operation& operation = operations_[changes[i]];
        if (operation.started > cut.ceiling) break;
        consider(i + 1, operation.version());
    }
    return range;
}

// Whatever is certainly there proves everything acknowledged before it started.
void Model::raise_floor(const Contents& found, Cut& cut) const {
    for (size_t v = 0; v < kVolumes; ++v) {
        for (uint64_t s = 0; s < found[v].size(); ++s) {
            if (history_[v][s].empty()) continue;
            const Range range = range_of(v, s, found[v][s], cut);
            if (!range.known || range.low == 0) continue;
            cut.floor = std::max(cut.floor, operations_[history_[v][s][range.low - 1]].started);
        }
    }
}

void Model::check_sectors(size_t volume, const Content& found, const Cut& cut,
                          const Checked& to) const {
    size_t shown = 0;
    for (uint64_t s = 0; s < found.size() && shown < 5; ++s) {
        const Range range = range_of(volume, s, found[s], cut);
        const std::vector<uint32_t>& changes = history_[volume][s];
        if (!range.known) {
            ++shown;
            to.problems->push_back(fmt::format(
                "{} volume {} sector {}: version {} does not belong here (base {}, {} changes)",
                to.what, volume, s, found[s], base_.heads[volume][s], changes.size()));
            continue;
        }
        for (size_t i = changes.size(); i > range.high; --i) {
            const Operation& operation = operations_[changes[i - 1]];
            if (operation.started > cut.ceiling) continue;
            const bool forced =
                cut.durable && operation.event.durable && operation.acknowledged != kNever;
            if (operation.acknowledged >= cut.floor && !forced) continue;
            ++shown;
            to.problems->push_back(fmt::format(
                "{} volume {} sector {}: version {}, but operation {} was acknowledged ({}) and "
                "has to be there",
                to.what, volume, s, found[s], operation.event.id,
                forced ? "forced"
                       : fmt::format("at {}, floor {}", operation.acknowledged, cut.floor)));
            break;
        }
    }
}

void Model::check_blocks(size_t volume, const Content& found, const Cut& cut,
                         const Checked& to) const {
    for (uint64_t block = 0; block < found.size() / kBlockSectors; ++block) {
        std::map<uint32_t, unsigned> seen;  // operation: 1 = a sector has it, 2 = one lacks it
        for (uint64_t s = block * kBlockSectors; s < (block + 1) * kBlockSectors; ++s) {
            const std::vector<uint32_t>& changes = history_[volume][s];
            if (changes.empty()) continue;
            const Range range = range_of(volume, s, found[s], cut);
            if (!range.known) continue;
            for (size_t i = 0; i < changes.size(); ++i) {
                if (range.low >= i + 1) seen[changes[i]] |= 1U;
                if (range.high < i + 1) seen[changes[i]] |= 2U;
            }
        }
        for (const auto& [index, how] : seen) {
            if (how != 3) continue;
            to.problems->push_back(
                fmt::format("{} volume {} block {}: holds a part of operation {}", to.what, volume,
                            block, operations_[index].event.id));
            return;
        }
    }
}

void Model::check_cut(const Contents& found, Cut cut, const Checked& to) const {
    raise_floor(found, cut);
    for (size_t v = 0; v < kVolumes; ++v) {
        if (found[v].empty()) continue;
        check_sectors(v, found[v], cut, to);
        check_blocks(v, found[v], cut, to);
    }
}

uint64_t Model::removed_from(uint64_t snapshot, bool acknowledged_only) const {
    unsigned mask = 0;
    for (const Operation& o : operations_) {
        if (o.event.operation != OperationKind::remove || o.event.target != snapshot) continue;
        if (acknowledged_only && o.acknowledged == kNever) continue;
        mask |= 1U << o.event.volumes;
    }
    return mask;
}

// Which snapshots there are; a group is made as a whole.
void Model::check_names(const State& found, const Checked& to) const {
    std::map<uint64_t, std::pair<uint64_t, bool>> made;  // id: volumes, has to be there
    for (const auto& [id, contents] : base_.snapshots) made[id] = {volumes_of(contents), true};
    for (const Operation& o : operations_) {
        if (o.event.operation == OperationKind::snapshot) {
            made[o.event.id] = {o.event.volumes, o.acknowledged != kNever};
        }
    }
    for (const auto& [id, contents] : found.snapshots) {
        if (!made.contains(id)) {
            to.problems->push_back(fmt::format("snapshot {} was never made", id));
        }
    }
    for (const auto& [id, expected] : made) {
        const auto here = found.snapshots.find(id);
        const uint64_t mask = here == found.snapshots.end() ? 0 : volumes_of(here->second);
        const uint64_t gone = removed_from(id, true);
        const uint64_t perhaps_gone = removed_from(id, false);
        const bool whole = (mask & gone) == 0 && (mask | perhaps_gone) == expected.first;
        const bool none = mask == 0 && !expected.second;
        if (!whole && !none) {
            to.problems->push_back(
                fmt::format("snapshot {} is there for volumes {:03b}; made {:03b}{}, deleted "
                            "{:03b}, perhaps {:03b}",
                            id, mask, expected.first, expected.second ? "" : " (not acknowledged)",
                            gone, perhaps_gone));
        }
    }
}

void Model::check_kept_snapshot(uint64_t id, const Contents& found, const Checked& to) const {
    const Contents& before = base_.snapshots.at(id);
    for (size_t v = 0; v < kVolumes; ++v) {
        if (!found[v].empty() && found[v] != before[v]) {
            to.problems->push_back(fmt::format("snapshot {} of volume {} has changed", id, v));
        }
    }
}

std::vector<std::string> Model::check(const State& found, bool ring_kept) const {
    std::vector<std::string> problems;
    check_names(found, {&problems, "names"});
    Cut heads;
    heads.floor = ring_kept ? kNever : settled_;
    for (const Operation& o : operations_) {
        const bool durable = o.event.durable || !changes_sectors(o.event.operation);
        if (durable && o.acknowledged != kNever) heads.floor = std::max(heads.floor, o.started);
    }
    for (const auto& [id, contents] : found.snapshots) {
        const std::string what = fmt::format("snapshot {},", id);
        if (base_.snapshots.contains(id)) {
            check_kept_snapshot(id, contents, {&problems, what});
            continue;
        }
        const auto made = by_id_.find(id);
        if (made == by_id_.end()) continue;
        const Operation& snapshot = operations_[made->second];
        check_cut(contents, {snapshot.started, snapshot.acknowledged, false}, {&problems, what});
        heads.floor = std::max(heads.floor, snapshot.started);
    }
    check_cut(found.heads, heads, {&problems, "head,"});
    return problems;
}

std::map<uint64_t, uint8_t> Model::snapshots() const {
    std::map<uint64_t, uint8_t> masks;
    for (const auto& [id, contents] : base_.snapshots) masks[id] = volumes_of(contents);
    return masks;
}

void Model::restart_from(State found) {
    base_ = std::move(found);
    operations_.clear();
    by_id_.clear();
    for (auto& volume : history_) {
        for (auto& sector : volume) sector.clear();
    }
}

}  // namespace stoa::killtest
