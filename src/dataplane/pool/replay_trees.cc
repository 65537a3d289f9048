// Pass 2 of a recovery: what the journal did to objects and trees.
#include <algorithm>

#include <fmt/format.h>

#include "dataplane/pool/node_flusher.h"
#include "dataplane/pool/replay.h"
#include "dataplane/pool/structure.h"
#include "dataplane/pool/tree_group.h"

namespace stoa::pool {

namespace {

constexpr size_t kLeavesAtOnceMax = 256;

}  // namespace

TreeReplay::TreeReplay(Core& core)
    : core_(core), changes_max_(core.options.knobs.replay_changes_max),
      leaves_at_once_(std::clamp<size_t>(core.cache.nodes_max() / 16, 1, kLeavesAtOnceMax)) {
    if (changes_max_ == 0) {
        changes_max_ = std::max<size_t>(core.options.cache_bytes / 4 / sizeof(Change), 64);
    }
}

bool TreeReplay::is_barrier(const Record& record) {
    if (std::holds_alternative<ReclaimRecord>(record)) return true;
    // Which trees hold the same leaf depends on all that was done to them before.
    if (const auto* map = std::get_if<MapRecord>(&record)) return map->below;
    const auto* structure = std::get_if<StructureRecord>(&record);
    return structure != nullptr &&
           std::ranges::any_of(structure->items, [](const StructureItem& item) {
               return item.what != StructureItem::What::assign;
           });
}

void TreeReplay::gather(const MapRecord& record) {
    for (size_t i = 0; i < record.now.size(); ++i) {
        core_.epoch = std::max(core_.epoch, record.now[i].birth());
        const Place place{record.object, record.first + i};
        if (place < from_ || (deferred_ && place >= limit_)) continue;
        if (pending_.size() >= changes_max_) {
            make_room();
            if (deferred_ && place >= limit_) continue;
        }
        pending_.push_back({place, order_++, record.now[i]});
    }
}

// Of several changes to one block the last counts.
void TreeReplay::sort_and_merge() {
    std::ranges::sort(pending_, [](const Change& a, const Change& b) {
        return std::tie(a.place, a.order) < std::tie(b.place, b.order);
    });
    size_t kept = 0;
    for (const Change& change : pending_) {
        const bool again = kept > 0 && pending_[kept - 1].place == change.place;
        if (again && MUTANT(29)) continue;  // the first one counts
        pending_[again ? kept - 1 : kept++] = change;
    }
    pending_.resize(kept);
}

void TreeReplay::make_room() {
    sort_and_merge();
    const size_t keep = changes_max_ / 4 * 3;
    if (pending_.size() <= keep) return;
    limit_ = pending_[keep].place;
    deferred_ = true;
    pending_.resize(keep);
}

void TreeReplay::begin_pass() {
    from_ = limit_;
    deferred_ = false;
}

void TreeReplay::end_passes() {
    from_ = {};
    deferred_ = false;
}

io::Task<Result<void>> TreeReplay::apply_below(const MapRecord& record) {
    Object* top = core_.objects.find(record.object);
    if (top == nullptr && core_.objects_lost) co_return Result<void>{};
    if (top == nullptr || !top->record.is_tree()) {
        co_return Error(ErrorCode::corrupt,
                        fmt::format("journal changes object {}, which is missing", record.object));
    }
    for (const Entry& entry : record.now) core_.epoch = std::max(core_.epoch, entry.birth());
    if (core_.cache.dirty_count() >= core_.dirty_limit && !core_.options.read_only) {
        CO_TRY(co_await spill(core_, *top, record.first));
    }
    for (;;) {
        Missing missing;
        if (fill_below(core_, *top, record.first, record.now, missing)) co_return Result<void>{};
        Result<Node*> loaded = co_await core_.cache.load(missing.entry, missing.level);
        if (loaded.ok()) continue;
        const bool may_return = core_.regions.is_away(missing.entry.address()) &&
                                !core_.options.accept_damaged && !core_.options.read_only;
        const ErrorCode code = loaded.error().code();
        if (may_return || (code != ErrorCode::corrupt && code != ErrorCode::io)) {
            co_return loaded.take_error();
        }
        // What is lost in one of the trees cannot be filled in any; the rest goes on.
        core_.event(fmt::format("{} blocks from {} on: {}", top->record.name, record.first,
                                loaded.error().message()));
        co_return Result<void>{};
    }
}

io::Task<Result<void>> TreeReplay::apply_barrier(const Record& record) {
    if (const auto* map = std::get_if<MapRecord>(&record)) co_return co_await apply_below(*map);
    if (const auto* reclaim = std::get_if<ReclaimRecord>(&record)) {
        Object* object = core_.objects.find(reclaim->object);
        if (object == nullptr && core_.objects_lost) co_return Result<void>{};
        if (object == nullptr || !object->record.has(ObjectRecord::kDeleted)) {
            co_return Error(
                ErrorCode::corrupt,
                fmt::format("journal reclaims object {}, which is not deleted", reclaim->object));
        }
        object->record.cursor = reclaim->cursor;
        object->record.mapped -= std::min(object->record.mapped, reclaim->unmapped);
        core_.objects.mark_dirty(*object);
        core_.reclaiming = reclaim->object;
        co_return Result<void>{};
    }
    const auto& structure = std::get<StructureRecord>(record);
    for (const StructureItem& item : structure.items) {
        if (item.what == StructureItem::What::remove && item.to == core_.reclaiming) {
            core_.reclaiming = 0;
        }
    }
    if (!core_.objects_lost) co_return apply_structure(core_, structure);
    apply_structure_to_rest(core_, structure);
    co_return Result<void>{};
}

io::Task<Result<void>> TreeReplay::apply(ConstBytes payload) {
    while (!payload.empty()) {
        size_t used = 0;
        CO_TRY_ASSIGN(const Record record, decode_record(payload, used));
        const auto* map = std::get_if<MapRecord>(&record);
        if (map != nullptr && !map->below) {
            // Nothing is deferred: when it is too much it is applied.
            if (pending_.size() >= changes_max_) CO_TRY(co_await drain());
            for (size_t i = 0; i < map->now.size(); ++i) {
                core_.epoch = std::max(core_.epoch, map->now[i].birth());
                pending_.push_back({{map->object, map->first + i}, order_++, map->now[i]});
            }
        } else if (is_barrier(record)) {
            CO_TRY(co_await drain());
            CO_TRY(co_await apply_barrier(record));
        }
        payload = payload.subspan(used);
    }
    co_return co_await drain();
}

io::Task<Result<bool>> TreeReplay::load(Object& object, const Missing& missing, BlockIndex block) {
    Result<Node*> loaded = co_await core_.cache.load(missing.entry, missing.level);
    if (loaded.ok()) co_return true;
    if (loaded.error().code() != ErrorCode::corrupt && loaded.error().code() != ErrorCode::io) {
        co_return loaded.take_error();
    }
    if (core_.regions.is_away(missing.entry.address()) && !core_.options.accept_damaged &&
        !core_.options.read_only) {
        // What the node holds is not lost: it is on a device that may return.
        co_return loaded.error().with_context(
            "the journal changes what lies on a missing device; open the pool with this device, "
            "read-only, or with the override that gives up what the device holds");
    }
    // Damage in one volume stops no other: what the node held is lost, the rest goes on.
    core_.event(fmt::format("{} blocks from {} on: {}", object.record.name,
                            block / kFanout * kFanout, loaded.error().message()));
    if (missing.level > 0) co_return false;
    co_return core_.writer.replace_lost_leaf(object, block, core_.epoch);
}

// An error is met again, and told, when the leaf is wanted.
io::Task<void> TreeReplay::prefetch(Object& object, BlockIndex block) {
    for (int level = kRootLevel; level >= 0; --level) {
        const Found found = find_leaf(core_.cache, object.record.root, block);
        if (!found.missing.any()) co_return;
        const Result<Node*> loaded =
            co_await core_.cache.load(found.missing.entry, found.missing.level);
        if (!loaded.ok()) co_return;
    }
}

size_t TreeReplay::leaf_end(size_t at) const {
    const Place first = pending_[at].place;
    while (at < pending_.size() && pending_[at].place.object == first.object &&
           pending_[at].place.block / kFanout == first.block / kFanout) {
        ++at;
    }
    return at;
}

io::Task<Result<void>> TreeReplay::apply_leaf(Object& object, size_t& at) {
    const size_t end = leaf_end(at);
    const BlockIndex block = pending_[at].place.block;
    for (;;) {
        Missing missing;
        Node* leaf = core_.writer.writable_leaf(object, block, core_.epoch, missing);
        if (leaf == nullptr) {
            CO_TRY_ASSIGN(const bool loaded, co_await load(object, missing, block));
            if (loaded) continue;
            at = end;
            co_return Result<void>{};
        }
        core_.objects.mark_dirty(object);
        for (; at < end; ++at) {
            Entry& slot = leaf->entries[entry_index(pending_[at].place.block, 0)];
            if (slot.kind() == EntryKind::data) --object.record.mapped;
            slot = pending_[at].now;
            if (slot.kind() == EntryKind::data) ++object.record.mapped;
        }
        co_return Result<void>{};
    }
}

// Some leaves of one object: read beside each other, then changed.
io::Task<Result<void>> TreeReplay::drain_batch(Object& object, size_t& at) {
    // Finished parts of the tree make room when the cache is small.
    if (core_.cache.dirty_count() >= core_.dirty_limit && !core_.options.read_only) {
        CO_TRY(co_await spill(core_, object, pending_[at].place.block));
    }
    io::TaskGroup group(core_.executor);
    size_t end = at;
    for (size_t n = 0; n < leaves_at_once_ && end < pending_.size() &&
                       pending_[end].place.object == object.record.id;
         ++n) {
        group.spawn(prefetch(object, pending_[end].place.block));
        end = leaf_end(end);
    }
    co_await group.join();
    while (at < end) CO_TRY(co_await apply_leaf(object, at));
    co_return Result<void>{};
}

io::Task<Result<void>> TreeReplay::drain() {
    sort_and_merge();
    for (size_t at = 0; at < pending_.size();) {
        const ObjectId id = pending_[at].place.object;
        Object* object = core_.objects.find(id);
        if (object == nullptr && core_.objects_lost) {
            ++at;
            continue;
        }
        if (object == nullptr || !object->record.is_tree()) {
            co_return Error(ErrorCode::corrupt,
                            fmt::format("journal changes volume {}, which is missing", id));
        }
        CO_TRY(co_await drain_batch(*object, at));
    }
    pending_.clear();
    co_return Result<void>{};
}

namespace {

// The records of the commits after a superblock, one after the other, from any of them on.
class RecordReader {
public:
    struct Place {
        uint64_t block = 0;   // of the commit in the journal
        uint64_t commit = 0;  // the one before it
        size_t offset = 0;    // in its payload
        auto operator<=>(const Place&) const = default;
    };

    RecordReader(Core& core, const Superblock& superblock, std::array<JournalPlace, 2> places,
                 const Place& from)
        : start_(superblock), place_(from) {
        start_.journal_start = from.block;
        start_.commit = from.commit;
        reader_.emplace(core.devices, core.checksums, start_, places, core.label.journal_blocks);
    }

    // Where the next record begins.
    [[nodiscard]] const Place& place() const { return place_; }

    // Nothing after commit `last`.
    io::Task<Result<std::optional<Record>>> next(uint64_t last) {
        while (!commit_ || place_.offset >= commit_->payload.size()) {
            if (commit_) place_ = {commit_->next_block, commit_->number, 0};
            if (place_.commit >= last) co_return std::optional<Record>{};
            CO_TRY_ASSIGN(commit_, co_await reader_->next());
            if (!commit_) co_return Error(ErrorCode::io, "the journal changed while it was read");
        }
        size_t used = 0;
        CO_TRY_ASSIGN(Record record,
                      decode_record(ConstBytes(commit_->payload).subspan(place_.offset), used));
        place_.offset += used;
        co_return std::optional<Record>(std::move(record));
    }

private:
    Superblock start_;  // moved to where this reader begins
    Place place_;
    std::optional<JournalReader> reader_;
    std::optional<ScannedCommit> commit_;
};

struct Pass2 {
    Core& core;
    const Superblock& from;
    std::array<JournalPlace, 2> places;
    uint64_t last_commit;
    TreeReplay trees;

    // Applies what was gathered from the records in [begin, end), in as many passes as it takes.
    io::Task<Result<void>> apply(RecordReader::Place begin, RecordReader::Place end) {
        CO_TRY(co_await trees.drain());
        while (trees.deferred() && !MUTANT(50)) {
            trees.begin_pass();
            RecordReader again(core, from, places, begin);
            while (again.place() < end) {
                CO_TRY_ASSIGN(const std::optional<Record> record, co_await again.next(last_commit));
                if (!record) break;
                if (const auto* map = std::get_if<MapRecord>(&*record)) trees.gather(*map);
            }
            CO_TRY(co_await trees.drain());
        }
        trees.end_passes();
        co_return Result<void>{};
    }
};

}  // namespace

io::Task<Result<void>> replay_trees(Core& core, const Superblock& from,
                                    std::array<JournalPlace, 2> places, uint64_t last_commit) {
    Pass2 pass{core, from, places, last_commit, TreeReplay(core)};
    RecordReader::Place begin{from.journal_start, from.commit, 0};
    RecordReader reader(core, from, places, begin);
    for (;;) {
        const RecordReader::Place before = reader.place();
        CO_TRY_ASSIGN(const std::optional<Record> record, co_await reader.next(last_commit));
        if (!record) break;
        const auto* map = std::get_if<MapRecord>(&*record);
        if (map != nullptr && !map->below) {
            pass.trees.gather(*map);
        } else if (TreeReplay::is_barrier(*record)) {
            CO_TRY(co_await pass.apply(begin, before));
            CO_TRY(co_await pass.trees.apply_barrier(*record));
            begin = reader.place();
        }
    }
    co_return co_await pass.apply(begin, reader.place());
}

}  // namespace stoa::pool
