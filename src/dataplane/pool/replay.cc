#include "dataplane/pool/replay.h"

#include "dataplane/pool/region_bits.h"

#include <algorithm>

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
                if (map->now[i].kind() == EntryKind::data && !map->shared) {
                    append_run(allocated_, {map->now[i].address(), 1});
                }
                if (map->freed[i] && !MUTANT(40)) append_run(freed_, {map->old[i].address(), 1});
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

}  // namespace stoa::pool
