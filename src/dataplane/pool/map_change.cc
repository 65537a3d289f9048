#include "dataplane/pool/map_change.h"

#include <algorithm>
#include <span>

#include <fmt/format.h>

#include "dataplane/pool/damage.h"

namespace stoa::pool {

namespace {

void give_back(Core& core, const MapChange& change) {
    for (size_t i = 0; i < change.count; ++i) {
        if (change.address[i] != 0) core.regions.cancel_allocated({change.address[i], 1});
    }
}

// Would turning `old` into a hole change anything that a reader can see?
bool is_hole_already(const Object& object, const Entry& old) {
    if (old.kind() == EntryKind::hole) return true;
    return old.kind() == EntryKind::absent && !asks_origin(object.record);
}

enum class Ownership : uint8_t { shared, exclusive, unknown };

// Does only `object` hold the data block of `old`? Unknown: `missing` must be loaded.
Ownership ownership(Core& core, const Object& object, BlockIndex block, BlockIndex leaf_end,
                    const Entry& old, Missing& missing) {
    if (!old.birth_proves_nothing()) {
        const Epoch floor = core.lineage.inherited_epoch(object, leaf_end);
        const bool exclusive = MUTANT(19) ? old.birth() >= floor : old.birth() > floor;
        return exclusive ? Ownership::exclusive : Ownership::shared;
    }
    const Object* parent = core.lineage.inherited_from(object, leaf_end);
    if (parent == nullptr) return Ownership::exclusive;
    const Found found = find_leaf(core.cache, parent->record.root, block);
    if (found.missing.any()) {
        missing = found.missing;
        return Ownership::unknown;
    }
    return found.entry(block) == old ? Ownership::shared : Ownership::exclusive;
}

class Applier {
public:
    Applier(Core& core, Object& object, const MapChange& change)
        : core_(core), object_(object), change_(change),
          leaf_end_((change.first / kFanout + 1) * kFanout) {}

    // Everything in one breath. False: `missing` must be loaded first, nothing has changed.
    //
    // A path is copied only together with a record that makes a replay copy it, too: what the
    // reclaimer frees (and journals) depends on which nodes the tree still shares.
    bool apply(Missing& missing, size_t& skipped) {
        const Found found = find_leaf(core_.cache, object_.record.root, change_.first);
        if (found.missing.any()) {
            missing = found.missing;
            return false;
        }
        bool any = false;
        for (size_t i = 0; i < change_.count; ++i) {
            const Entry old = found.entry(change_.first + i);
            action_[i] = choose_action(i, old);
            any = any || action_[i] == Action::set;
            if (!decide_ownership(i, old, missing)) return false;
        }
        for (size_t i = 0; i < change_.count; ++i) {
            if (action_[i] != Action::skip) continue;
            if (change_.address[i] != 0) core_.regions.cancel_allocated({change_.address[i], 1});
            ++skipped;
        }
        if (!any) return true;
        Node* leaf = core_.writer.writable_leaf(object_, change_.first, core_.epoch, missing);
        CHECK(leaf != nullptr);  // the path was found in memory above
        Entry* entries = leaf->entries + entry_index(change_.first, 0);
        core_.objects.mark_dirty(object_);
        ++object_.changes;
        if (change_.count == 1) {
            apply_single(entries);
        } else {
            apply_many(entries);
        }
        return true;
    }

private:
    enum class Action : uint8_t { set, keep, skip };

    Action choose_action(size_t i, const Entry& old) const {
        if (change_.expected != nullptr && old != change_.expected[i]) return Action::skip;
        const bool no_change = change_.address[i] == 0 && is_hole_already(object_, old);
        return no_change ? Action::keep : Action::set;
    }

    bool decide_ownership(size_t i, const Entry& old, Missing& missing) {
        freed_[i] = false;
        if (action_[i] != Action::set || old.kind() != EntryKind::data) return true;
        const Ownership owner =
            ownership(core_, object_, change_.first + i, leaf_end_, old, missing);
        freed_[i] = owner == Ownership::exclusive;
        return owner != Ownership::unknown;
    }

    Entry new_entry(size_t i) const {
        const Epoch birth = change_.births != nullptr ? change_.births[i] : core_.epoch;
        const BlockAddress address = change_.address[i];
        if (address == 0) {
            return Entry::hole(birth, static_cast<uint8_t>(change_.flags & Entry::kHydrated));
        }
        const uint32_t crc =
            core_.checksums.block({change_.content + i * kBlockBytes, kBlockBytes}, address, birth);
        return Entry::make(EntryKind::data, address, birth, crc, change_.flags);
    }

    void account(const Entry& old, const Entry& now, bool freed) {
        if (now.kind() == EntryKind::data) {
            core_.regions.commit_allocated({now.address(), 1});
            ++object_.record.mapped;
        }
        if (old.kind() == EntryKind::data) {
            if (!MUTANT(43)) --object_.record.mapped;
            if (freed) core_.regions.free({old.address(), 1});
        }
    }

    void apply_single(Entry* entries) {
        const Entry old = entries[0];
        const Entry now = new_entry(0);
        std::byte record[96];
        const size_t bytes =
            encode_single_block(object_.record.id, change_.first, now, old, freed_[0], record);
        entries[0] = now;
        account(old, now, freed_[0]);
        core_.append({record, bytes});
    }

    void apply_many(Entry* entries) {
        std::vector<std::byte> encoded;
        MapRecord record;
        record.object = object_.record.id;
        for (size_t i = 0; i < change_.count; ++i) {
            const Entry old = entries[i];
            if (action_[i] != Action::set) continue;
            const Entry now = new_entry(i);
            if (!record.now.empty() && !continues(record, i, now)) flush(record, encoded);
            if (record.now.empty()) record.first = change_.first + i;
            record.now.push_back(now);
            record.old.push_back(old);
            record.freed.push_back(freed_[i]);
            entries[i] = now;
            account(old, now, freed_[i]);
        }
        if (!record.now.empty()) flush(record, encoded);
    }

    bool continues(const MapRecord& record, size_t i, const Entry& now) const {
        const Entry& last = record.now.back();
        if (record.first + record.now.size() != change_.first + i) return false;
        if (last.kind_byte() != now.kind_byte()) return false;
        if (now.kind() == EntryKind::data) return last.address() + 1 == now.address();
        return last.birth() == now.birth();
    }

    void flush(MapRecord& record, std::vector<std::byte>& encoded) {
        encoded.clear();
        encode_record(record, encoded);
        if (!MUTANT(32) || record.now[0].kind() == EntryKind::data) core_.append(encoded);
        record.now.clear();
        record.old.clear();
        record.freed.clear();
    }

    Core& core_;
    Object& object_;
    const MapChange& change_;
    BlockIndex leaf_end_;
    std::array<bool, kFanout> freed_{};
    std::array<Action, kFanout> action_{};
};

}  // namespace

namespace {

// Holes need no data block, but copy nodes that others share: they leave the last of the reserve
// to checkpoints and deletions. Writes stopped before (store.cc).
bool may_copy_nodes(const Core& core, const MapChange& change) {
    const auto used = std::span(change.address).first(change.count);
    if (std::ranges::any_of(used, [](BlockAddress address) { return address != 0; })) return true;
    return core.regions.metadata_headroom() >=
           2 * core.cache.dirty_count() + 8 + core.regions.reserve_blocks() / 8;
}

}  // namespace

io::Task<Result<MapChangeResult>> change_map(Core& core, Object& object, const MapChange& change) {
    // The worst case: every block a record of its own.
    const size_t bytes = change.count * (72 + RecordLog::kFrameBytes);
    MapChangeResult result;
    Applier applier(core, object, change);
    Entry lost;  // the leaf to be changed, which cannot be read
    for (;;) {
        Result<void> room =
            co_await core.wait_for_room(bytes, {.even_when_closing = change.even_when_closing,
                                                .makes_nodes = true,
                                                .give_up = change.give_up});
        if (!room.ok()) {
            give_back(core, change);
            co_return room.take_error();
        }
        if (!may_copy_nodes(core, change)) {
            if (core.regions.quarantine() == 0) {
                give_back(core, change);
                co_return Error(ErrorCode::no_space,
                                fmt::format("pool {} has no space for the map nodes of {}; delete "
                                            "something or add a device",
                                            core.label.name, object.record.name));
            }
            core.want_checkpoint();
            co_await core.room.wait();
            continue;
        }
        Missing missing;
        if (applier.apply(missing, result.skipped)) break;
        if (lost.kind() == EntryKind::node && missing.entry == lost) {
            // In one breath: a path changes only together with its record.
            missing = {};
            const bool replaced = core.writer.replace_lost_leaf(object, change.first, core.epoch);
            if (replaced && applier.apply(missing, result.skipped)) break;
            CHECK(!replaced);
            missing = find_leaf(core.cache, object.record.root, change.first).missing;
            if (!missing.any()) continue;
        }
        Result<Node*> loaded = co_await core.cache.load(missing.entry, missing.level);
        if (loaded.ok()) continue;  // kept until the next attempt has used it
        const Found found = find_leaf(core.cache, object.record.root, change.first);
        if (loaded.error().code() != ErrorCode::corrupt || change.expected != nullptr ||
            missing.level != 0 || found.missing.entry != missing.entry || missing.entry == lost) {
            give_back(core, change);
            co_return loaded.error().with_context(
                fmt::format("{} block {}", object.record.name, change.first));
        }
        // New content heals; the other blocks of the leaf are damaged from now on.
        core.event(fmt::format(
            "{} blocks {} to {} are lost: {}", object.record.name, change.first / kFanout * kFanout,
            change.first / kFanout * kFanout + kFanout - 1, loaded.error().message()));
        lost = missing.entry;
    }
    co_return result;
}

io::Task<Result<Found>> look_up(Core& core, const Object& object, BlockIndex block) {
    for (;;) {
        const Found found = find_leaf(core.cache, object.record.root, block);
        if (!found.missing.any()) {
            core.cache.count_hit();
            co_return found;
        }
        const ObjectId id = object.record.id;
        const std::string name = object.record.name;
        const Result<Node*> loaded =
            co_await core.cache.load(found.missing.entry, found.missing.level);
        if (core.objects.find(id) != &object) {
            co_return Error(ErrorCode::not_found, fmt::format("{} was deleted meanwhile", name));
        }
        if (!loaded.ok()) {
            const uint64_t span = entry_blocks(found.missing.level + 1);
            co_return loaded.error().with_context(
                fmt::format("{} blocks {} to {}", object.record.name, block / span * span,
                            block / span * span + span - 1));
        }
    }
}

namespace {

constexpr size_t kSkipsAtOnce = 1024;  // of holes that are there already

}  // namespace

io::Task<Result<void>> punch_holes(Core& core, Object& object, BlockIndex first, uint64_t count,
                                   bool even_when_closing, const bool* give_up) {
    const BlockIndex begin = first;
    const BlockIndex end = first + count;
    size_t skips = 0;
    MapChange change;
    change.even_when_closing = even_when_closing;
    change.give_up = give_up;
    while (first < end) {
        const Result<Found> found = co_await look_up(core, object, first);
        if (!found.ok() && found.error().code() != ErrorCode::corrupt) co_return found.error();
        if (found.ok() && found->leaf == nullptr && is_hole_already(object, found->subtree)) {
            first = std::min(end, found->end(first));
            if (++skips % kSkipsAtOnce == 0) co_await core.executor.yield();
            continue;
        }
        change.first = first;
        change.count = std::min<uint64_t>(end - first, kFanout - first % kFanout);
        CO_TRY(co_await change_map(core, object, change));
        if (change.count == kFanout) core.writer.collapse(object, first);
        first += change.count;
        // A large range is many small steps: others run in between.
        co_await core.executor.yield();
    }
    if (object.damage_count > 0) co_await clear_damage(core, object, begin, count);
    co_return Result<void>{};
}

}  // namespace stoa::pool
