#include "dataplane/pool/replay.h"

#include <algorithm>

#include <fmt/format.h>

#include "dataplane/pool/checkpoint.h"
#include "dataplane/pool/structure.h"

namespace stoa::pool {

Result<void> SpaceReplay::collect_assignments(Core& core, ConstBytes payload) {
    core_ = &core;
    while (!payload.empty()) {
        size_t used = 0;
        TRY_ASSIGN(const Record record, decode_record(payload, used));
        payload = payload.subspan(used);
        const auto* structure = std::get_if<StructureRecord>(&record);
        if (structure == nullptr) continue;
        for (const StructureItem& item : structure->items) {
            if (item.what != StructureItem::What::assign) continue;
            TRY(core.regions.replay_assign(item.region, item.entry));
            tentative_.push_back(item.region);
        }
    }
    return {};
}

void SpaceReplay::undo_assignments() {
    for (const uint32_t region : tentative_) core_->regions.unassign(region);
    tentative_.clear();
}

Result<void> SpaceReplay::collect(Core& core, ConstBytes payload) {
    while (!payload.empty()) {
        size_t used = 0;
        TRY_ASSIGN(const Record record, decode_record(payload, used));
        payload = payload.subspan(used);
        if (const auto* map = std::get_if<MapRecord>(&record)) {
            for (size_t i = 0; i < map->now.size(); ++i) {
                if (map->now[i].kind() == EntryKind::data) {
                    allocated_.push_back({map->now[i].address(), 1});
                }
                if (map->freed[i] && !MUTANT(40)) freed_.push_back({map->old[i].address(), 1});
            }
        } else if (const auto* reclaim = std::get_if<ReclaimRecord>(&record)) {
            freed_.insert(freed_.end(), reclaim->freed.begin(), reclaim->freed.end());
        } else if (const auto* structure = std::get_if<StructureRecord>(&record)) {
            for (const StructureItem& item : structure->items) {
                if (item.what != StructureItem::What::assign) continue;
                if (std::ranges::find(tentative_, item.region) != tentative_.end()) continue;
                TRY(core.regions.replay_assign(item.region, item.entry));
            }
        }
    }
    return {};
}

io::Task<Result<void>> SpaceReplay::apply(Core& core) {
    co_return co_await core.regions.replay(std::move(allocated_), std::move(freed_));
}

io::Task<Result<void>> TreeReplay::apply(ConstBytes payload) {
    while (!payload.empty()) {
        size_t used = 0;
        CO_TRY_ASSIGN(const Record record, decode_record(payload, used));
        payload = payload.subspan(used);
        if (const auto* map = std::get_if<MapRecord>(&record)) {
            for (size_t i = 0; i < map->now.size(); ++i) {
                pending_.push_back({map->object, map->first + i, order_++, map->now[i]});
                core_.epoch = std::max(core_.epoch, map->now[i].birth());
            }
            // 40 bytes each; a quarter of the cache is theirs.
            if (pending_.size() * sizeof(Change) > core_.options.cache_bytes / 4) {
                CO_TRY(co_await drain());
            }
        } else if (const auto* reclaim = std::get_if<ReclaimRecord>(&record)) {
            CO_TRY(co_await apply_reclaim(*reclaim));
        } else if (const auto* structure = std::get_if<StructureRecord>(&record)) {
            const bool only_assigns = std::ranges::all_of(
                structure->items,
                [](const StructureItem& item) { return item.what == StructureItem::What::assign; });
            if (only_assigns) continue;
            CO_TRY(co_await drain());
            for (const StructureItem& item : structure->items) {
                if (item.what == StructureItem::What::remove && item.to == core_.reclaiming) {
                    core_.reclaiming = 0;
                }
            }
            CO_TRY(apply_structure(core_, *structure));
        }
    }
    co_return Result<void>{};
}

io::Task<Result<void>> TreeReplay::apply_reclaim(const ReclaimRecord& record) {
    CO_TRY(co_await drain());
    Object* object = core_.objects.find(record.object);
    if (object == nullptr || !object->record.has(ObjectRecord::kDeleted)) {
        co_return Error(
            ErrorCode::corrupt,
            fmt::format("journal reclaims object {}, which is not deleted", record.object));
    }
    object->record.cursor = record.cursor;
    object->record.mapped -= std::min(object->record.mapped, record.unmapped);
    core_.objects.mark_dirty(*object);
    core_.reclaiming = record.object;
    co_return Result<void>{};
}

io::Task<Result<void>> TreeReplay::finish() { co_return co_await drain(); }

io::Task<Result<bool>> TreeReplay::load(Object& object, const Missing& missing, BlockIndex block) {
    Result<Node*> loaded = co_await core_.cache.load(missing.entry, missing.level);
    if (loaded.ok()) co_return true;
    if (loaded.error().code() != ErrorCode::corrupt && loaded.error().code() != ErrorCode::io) {
        co_return loaded.take_error();
    }
    // Damage in one volume stops no other: what the node held is lost, the rest goes on.
    core_.event(fmt::format("{} blocks from {} on: {}", object.record.name,
                            block / kFanout * kFanout, loaded.error().message()));
    if (missing.level > 0) co_return false;
    co_return core_.writer.replace_lost_leaf(object, block, core_.epoch);
}

io::Task<Result<void>> TreeReplay::drain() {
    std::ranges::sort(pending_, [](const Change& a, const Change& b) {
        return std::tie(a.object, a.block, a.order) < std::tie(b.object, b.block, b.order);
    });
    Object* object = nullptr;
    BlockIndex spilled_to = 0;
    for (size_t i = 0; i < pending_.size();) {
        const Change& change = pending_[i];
        if (object == nullptr || object->record.id != change.object) {
            object = core_.objects.find(change.object);
            if (object == nullptr || !object->record.is_tree()) {
                co_return Error(
                    ErrorCode::corrupt,
                    fmt::format("journal changes volume {}, which is missing", change.object));
            }
            spilled_to = 0;
        }
        // Finished leaves make room when the cache is small.
        if (core_.cache.dirty_count() >= core_.dirty_limit && !core_.options.read_only &&
            change.block / entry_blocks(2) > spilled_to) {
            CO_TRY(co_await spill_leaves(core_, *object, change.block));
            spilled_to = change.block / entry_blocks(2);
        }
        Missing missing;
        Node* leaf = core_.writer.writable_leaf(*object, change.block, core_.epoch, missing);
        // All changes of this leaf; of several to one block the last counts.
        const BlockIndex leaf_end = (change.block / kFanout + 1) * kFanout;
        if (leaf == nullptr) {
            CO_TRY_ASSIGN(const bool loaded, co_await load(*object, missing, change.block));
            while (!loaded && i < pending_.size() && pending_[i].object == object->record.id &&
                   pending_[i].block < leaf_end) {
                ++i;
            }
            continue;
        }
        core_.objects.mark_dirty(*object);
        while (i < pending_.size() && pending_[i].object == object->record.id &&
               pending_[i].block < leaf_end) {
            const bool superseded = i + 1 < pending_.size() &&
                                    pending_[i + 1].object == pending_[i].object &&
                                    pending_[i + 1].block == pending_[i].block;
            const bool repeated = i > 0 && pending_[i - 1].object == pending_[i].object &&
                                  pending_[i - 1].block == pending_[i].block;
            if (MUTANT(29) ? repeated : superseded) {
                ++i;
                continue;
            }
            Entry& slot = leaf->entries[entry_index(pending_[i].block, 0)];
            if (slot.kind() == EntryKind::data) --object->record.mapped;
            slot = pending_[i].now;
            if (slot.kind() == EntryKind::data) ++object->record.mapped;
            ++i;
        }
    }
    pending_.clear();
    co_return Result<void>{};
}

}  // namespace stoa::pool
