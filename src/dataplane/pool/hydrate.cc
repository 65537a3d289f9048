// Hydration: every block that a family of trees would ask an origin for is fetched, once, and held
// by all of them. How trees that no longer change are changed: tree_group.h.
//
// Leaf by leaf, in each leaf parents before children: a block that is absent in a tree and was
// fetched for its parent becomes the parent's entry; what the parent does not hold is fetched.
// Tests: hydration_test.cc.
#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "dataplane/pool/damage.h"
#include "dataplane/pool/structure.h"
#include "dataplane/pool/transfer.h"
#include "dataplane/pool/tree_group.h"
#include "dataplane/pool/volume_handle.h"

namespace stoa::pool {

namespace {

constexpr size_t kObjectsPerRecord = 32;

const Object& root_of(const Core& core, const Object& object) {
    const Object* at = &object;
    while (const Object* parent = core.objects.find(at->record.parent)) at = parent;
    return *at;
}

// All trees that `object` may share blocks with, and itself; parents before children.
std::vector<ObjectId> family_of(const Core& core, const Object& object) {
    std::vector<ObjectId> family{root_of(core, object).record.id};
    for (size_t i = 0; i < family.size(); ++i) {
        const std::vector<ObjectId>& children = core.objects.find(family[i])->children;
        family.insert(family.end(), children.begin(), children.end());
    }
    return family;
}

using Entries = std::array<Entry, kFanout>;

// One pass over a family.
class Hydration {
public:
    Hydration(Core& core, Uuid volume, const Uuid& origin_uuid, block::Volume& origin,
              const Progress& progress)
        : core_(core), volume_(volume), origin_uuid_(origin_uuid), origin_(origin),
          progress_(progress) {}

    // Every leaf of every tree. The trees it was done for are in sizes_.
    io::Task<Result<void>> run() {
        CO_TRY(still_here(core_, volume_));
        sizes_.clear();
        BlockIndex end = 0;
        for (const ObjectId id : trees()) {
            sizes_[id] = core_.objects.find(id)->record.size_bytes;
            end = std::max(end, core_.objects.find(id)->record.size_blocks());
        }
        for (BlockIndex first = 0; first < end; first += kFanout) {
            CO_TRY(still_here(core_, volume_));
            // Those made meanwhile hold what was filled so far.
            for (const ObjectId id : trees()) CO_TRY(co_await fill_leaf(id, first));
            CO_TRY(tell(progress_, std::min<BlockIndex>(first + kFanout, end), end));
            co_await core_.executor.yield();
        }
        co_return Result<void>{};
    }

    // Nothing in the family asks for the origin any more, if nothing grew meanwhile: else false.
    io::Task<Result<bool>> finish() {
        io::Mutex::Guard guard = co_await core_.structure_lock.lock();
        CO_TRY(still_here(core_, volume_));
        const std::vector<ObjectId> all = trees();
        for (const ObjectId id : all) {
            const auto known = sizes_.find(id);
            const uint64_t size = core_.objects.find(id)->record.size_bytes;
            if (known == sizes_.end() || known->second < size) co_return false;
        }
        // The volume itself last: until then a crash goes on with the others.
        std::vector<ObjectId> order = all;
        const ObjectId own = core_.objects.find(volume_)->record.id;
        std::erase(order, own);
        order.push_back(own);
        for (size_t at = 0; at < order.size(); at += kObjectsPerRecord) {
            StructureRecord change;
            for (size_t i = at; i < std::min(at + kObjectsPerRecord, order.size()); ++i) {
                Object* object = core_.objects.find(order[i]);
                if (object == nullptr) continue;
                change.put(object->record);
                change.items.back().object.set(ObjectRecord::kHydrated, true);
                change.items.back().object.set(ObjectRecord::kHydrating, false);
            }
            CO_TRY(co_await commit_structure(core_, std::move(change)));
        }
        co_return true;
    }

private:
    [[nodiscard]] bool needs(const Object& object) const {
        const ObjectRecord& record = object.record;
        // What is deleted and has no children is read by nobody.
        return record.is_tree() && asks_origin(record) && record.origin == origin_uuid_ &&
               !(record.has(ObjectRecord::kDeleted) && object.children.empty());
    }

    [[nodiscard]] std::vector<ObjectId> trees() const {
        std::vector<ObjectId> list;
        const Object* volume = core_.objects.find(volume_);
        if (volume == nullptr) return list;
        for (const ObjectId id : family_of(core_, *volume)) {
            if (needs(*core_.objects.find(id))) list.push_back(id);
        }
        return list;
    }

    // Nothing while it is gone.
    [[nodiscard]] Object* find_tree(ObjectId id) const {
        Object* object = core_.objects.find(id);
        return object != nullptr && needs(*object) ? object : nullptr;
    }

    // What the parent had fetched for `block`, else ABSENT.
    [[nodiscard]] Entry inherited(const Found* parent, BlockIndex block) const {
        if (parent == nullptr) return Entry{};
        const Entry entry = parent->entry(block);
        return (entry.flags() & Entry::kHydrated) != 0 ? entry : Entry{};
    }

    // The absent blocks of one leaf of one tree.
    io::Task<Result<void>> fill_leaf(ObjectId id, BlockIndex first) {
        for (;;) {
            Object* tree = find_tree(id);
            if (tree == nullptr || first >= tree->record.size_blocks()) co_return Result<void>{};
            const size_t count = std::min<uint64_t>(kFanout, tree->record.size_blocks() - first);
            const Object* parent = core_.objects.find(tree->record.parent);
            Entries above{};
            if (parent != nullptr && parent->record.origin == origin_uuid_) {
                CO_TRY_ASSIGN(const Found theirs, co_await look_up(core_, *parent, first));
                for (size_t i = 0; i < count; ++i) above[i] = inherited(&theirs, first + i);
            }
            tree = find_tree(id);
            if (tree == nullptr) co_return Result<void>{};
            CO_TRY_ASSIGN(const Found found, co_await look_up(core_, *tree, first));
            std::array<bool, kFanout> wanted{};
            bool any_shared = false;
            bool any_wanted = false;
            for (size_t i = 0; i < count; ++i) {
                const bool absent = found.entry(first + i).kind() == EntryKind::absent;
                wanted[i] = absent && above[i].kind() == EntryKind::absent;
                any_wanted = any_wanted || wanted[i];
                if (!absent) above[i] = Entry{};
                any_shared = any_shared || above[i].kind() != EntryKind::absent;
            }
            if (!any_shared && !any_wanted) co_return Result<void>{};
            bool again = false;
            if (any_shared) {
                CO_TRY_ASSIGN(const bool done, co_await insert(id, first, above, count, true));
                again = !done;
            }
            for (size_t i = 0; i < count && !again;) {
                size_t end = i;
                while (end < count && wanted[end]) ++end;
                if (end > i) CO_TRY(co_await fetch(id, first + i, end - i));
                i = end + 1;
            }
            if (!again) co_return Result<void>{};
            co_await core_.executor.yield();
        }
    }

    // Blocks [first, first + count) from the origin into one tree and those that share its leaf.
    io::Task<Result<void>> fetch(ObjectId id, BlockIndex first, size_t count) {
        Object* tree = find_tree(id);
        if (tree == nullptr) co_return Result<void>{};
        BouncePool::Buffer bounce = co_await core_.bounce.acquire(count * kBlockBytes);
        CO_TRY(co_await read_origin(origin_, first, {bounce.data(), count * kBlockBytes}));
        CO_TRY(co_await wait_for_reclaim(core_, volume_));
        tree = find_tree(id);
        if (tree == nullptr) co_return Result<void>{};
        Epoch birth = tree->record.epoch;
        if (const Object* volume = core_.objects.find(tree->record.volume); volume != nullptr) {
            birth = std::min(birth, volume->record.epoch);
        }
        MapChange change;
        change.first = first;
        change.count = count;
        change.content = bounce.data();
        const bool never = false;
        const Hold hold(core_, *tree);  // it stays while the blocks are written
        CO_TRY(co_await store_blocks(core_, *tree, change, never, WhenFull::fail));
        Entries now{};
        for (size_t i = 0; i < count; ++i) {
            const BlockAddress address = change.address[i];
            now[i] = address == 0 ? Entry::hole(birth, Entry::kHydrated)
                                  : Entry::make(EntryKind::data, address, birth,
                                                core_.checksums.block(
                                                    {bounce.data() + i * kBlockBytes, kBlockBytes},
                                                    address, birth),
                                                Entry::kHydrated);
        }
        Result<bool> inserted = co_await insert(id, first, now, count, false);
        if (!inserted.ok()) {
            for (size_t i = 0; i < count; ++i) give_back(now[i]);
            co_return inserted.take_error();
        }
        co_return Result<void>{};
    }

    void give_back(const Entry& entry) {
        if (entry.kind() == EntryKind::data) core_.regions.cancel_allocated({entry.address(), 1});
    }

    // Waits until the leaf can be changed, then changes it in one breath. `shared`: the entries are
    // the parent's, else they are new. False (only if shared): the parent's have changed.
    io::Task<Result<bool>> insert(ObjectId id, BlockIndex first, Entries now, size_t count,
                                  bool shared) {
        const size_t bytes = count * (72 + RecordLog::kFrameBytes);
        for (;;) {
            CO_TRY(co_await core_.wait_for_room(bytes));
            CO_TRY(co_await wait_for_reclaim(core_, volume_));
            // Nodes of all these trees are kept in memory meanwhile.
            const ReadGuard guard(core_);
            std::vector<PinGuard> pins;
            while (core_.has_room(bytes) && !is_family_shrinking(core_, volume_)) {
                Missing missing;
                const std::optional<bool> done = try_insert(id, first, now, count, shared, missing);
                if (done) co_return *done;
                CO_TRY_ASSIGN(Node * loaded,
                              co_await core_.cache.load(missing.entry, missing.level));
                pins.emplace_back(loaded);
            }
        }
    }

    // Nothing if `missing` must be loaded.
    std::optional<bool> try_insert(ObjectId id, BlockIndex first, Entries& now, size_t count,
                                   bool shared, Missing& missing) {
        Object* tree = find_tree(id);
        if (tree == nullptr) {
            for (size_t i = 0; i < count && !shared; ++i) give_back(now[i]);
            return true;
        }
        const Found found = find_leaf(core_.cache, tree->record.root, first);
        missing = found.missing;
        if (missing.any()) return std::nullopt;
        std::optional<Found> theirs;
        const Object* parent = core_.objects.find(tree->record.parent);
        if (shared && parent != nullptr) {
            theirs = find_leaf(core_.cache, parent->record.root, first);
            missing = theirs->missing;
            if (missing.any()) return std::nullopt;
        }
        Entries wanted{};
        bool any = false;
        bool still = true;
        for (size_t i = 0; i < count; ++i) {
            if (now[i].kind() == EntryKind::absent) continue;
            const bool absent = found.entry(first + i).kind() == EntryKind::absent || MUTANT(30);
            const bool beyond = first + i >= tree->record.size_blocks();
            if (!absent || beyond) continue;
            if (shared && (!theirs || theirs->entry(first + i) != now[i])) {
                still = false;
                continue;
            }
            wanted[i] = now[i];
            any = true;
        }
        if (any && !fill_below(core_, *tree, first, {wanted.data(), count}, missing)) {
            return std::nullopt;
        }
        for (size_t i = 0; i < count && !shared; ++i) {
            if (now[i].kind() != EntryKind::data) continue;
            if (wanted[i].kind() == EntryKind::data) {
                core_.regions.commit_allocated({now[i].address(), 1});
            } else {
                give_back(now[i]);
            }
        }
        if (any) append(*tree, first, wanted, count, shared);
        return still;
    }

    void append(const Object& tree, BlockIndex first, const Entries& now, size_t count,
                bool shared) {
        std::vector<std::byte> encoded;
        for (size_t i = 0; i < count;) {
            size_t end = i;
            MapRecord record;
            record.object = tree.record.id;
            record.first = first + i;
            record.shared = shared;
            record.below = tree.record.kind != ObjectKind::volume;
            while (end < count && now[end].kind() != EntryKind::absent &&
                   (end == i || continues(now[end - 1], now[end]))) {
                record.now.push_back(now[end]);
                record.old.emplace_back();
                record.freed.push_back(false);
                ++end;
            }
            if (end == i) {
                ++i;
                continue;
            }
            encoded.clear();
            encode_record(record, encoded);
            core_.append(encoded);
            i = end;
        }
    }

    static bool continues(const Entry& last, const Entry& next) {
        if (last.kind_byte() != next.kind_byte()) return false;
        if (next.kind() == EntryKind::data) return last.address() + 1 == next.address();
        return last.birth() == next.birth();
    }

    Core& core_;
    Uuid volume_;
    Uuid origin_uuid_;
    block::Volume& origin_;
    const Progress& progress_;
    std::map<ObjectId, uint64_t> sizes_;  // of the trees that the pass is for, when it began
};

// Marks the volume, so that a crash goes on, unless something is in the way.
io::Task<Result<void>> begin_hydration(Core& core, const Uuid& volume, std::optional<Hold>& hold) {
    io::Mutex::Guard guard = co_await core.structure_lock.lock();
    CO_TRY(still_here(core, volume));
    Object* object = core.objects.find(volume);
    for (const ObjectId id : family_of(core, *object)) {
        const Object* relative = core.objects.find(id);
        const bool hydrating =
            relative->record.has(ObjectRecord::kHydrating) && relative->holds > 0;
        if (!hydrating && !relative->record.has(ObjectRecord::kFlattening)) continue;
        co_return Error(ErrorCode::busy,
                        fmt::format("{} is being hydrated or flattened", relative->record.name));
    }
    hold.emplace(core, *object);
    if (object->record.has(ObjectRecord::kHydrating)) co_return Result<void>{};
    StructureRecord change;
    change.put(object->record);
    change.items.back().object.set(ObjectRecord::kHydrating, true);
    co_return co_await commit_structure(core, std::move(change));
}

bool anybody_asks(const Core& core, const Object& volume) {
    return std::ranges::any_of(family_of(core, volume), [&](ObjectId id) {
        const ObjectRecord& record = core.objects.find(id)->record;
        return asks_origin(record) && record.origin == volume.record.origin &&
               !record.has(ObjectRecord::kDeleted);
    });
}

}  // namespace

bool is_family_shrinking(const Core& core, const Uuid& volume_uuid) {
    const Object* reclaimed = core.objects.find(core.reclaiming);
    const Object* volume = core.objects.find(volume_uuid);
    return reclaimed != nullptr && volume != nullptr && reclaimed->record.is_tree() &&
           root_of(core, *reclaimed).record.id == root_of(core, *volume).record.id;
}

io::Task<Result<void>> wait_for_reclaim(Core& core, Uuid volume) {
    while (is_family_shrinking(core, volume)) {
        CO_TRY(still_here(core, volume));
        if (!core.writable()) co_return core.read_only_error();
        if (core.background_error || !core.options.knobs.background) {
            co_return Error(ErrorCode::busy,
                            fmt::format("{}, a deleted relative of volume {}, is being reclaimed "
                                        "and does not go on",
                                        core.objects.find(core.reclaiming)->record.name,
                                        core.objects.find(volume)->record.name));
        }
        co_await core.work.wait();
    }
    co_return Result<void>{};
}

bool is_family_hydrating(const Core& core, const Object& object) {
    return std::ranges::any_of(family_of(core, object), [&](ObjectId id) {
        const Object* relative = core.objects.find(id);
        return relative->record.has(ObjectRecord::kHydrating) && relative->holds > 0;
    });
}

namespace {

constexpr uint64_t kPatienceNs = 5'000'000'000;
constexpr uint64_t kStepNs = 50'000'000;

Result<block::Volume*> origin_of(const Core& core, const Object& volume) {
    const Uuid& uuid = volume.record.origin;
    block::Volume* origin = core.options.origins ? core.options.origins(uuid) : nullptr;
    if (origin != nullptr) return origin;
    return Error(ErrorCode::io, fmt::format("the origin {} of {} is not available",
                                            uuid.to_string(), volume.record.name));
}

// From the first leaf that lacks something to the end of all.
io::Task<Result<void>> hydrate_all(Core& core, const Object& volume, const Progress& progress) {
    CO_TRY_ASSIGN(block::Volume * origin, origin_of(core, volume));
    Hydration hydration(core, volume.record.uuid, volume.record.origin, *origin, progress);
    for (;;) {
        CO_TRY(co_await hydration.run());
        CO_TRY_ASSIGN(const bool done, co_await hydration.finish());
        if (done) co_return Result<void>{};
    }
}

// Errors: of tell() and still_here().
io::Task<Result<void>> be_patient(Core& core, Uuid volume, const Progress& progress) {
    const uint64_t again = core.executor.now_ns() + kPatienceNs;
    while (core.executor.now_ns() < again) {
        co_await core.executor.sleep_ns(kStepNs);
        CO_TRY(still_here(core, volume));
        CO_TRY(tell(progress, 0, 0));
    }
    co_return Result<void>{};
}

// What was stopped on purpose is not gone on with by the next open.
io::Task<Result<void>> forget_hydration(Core& core, Uuid volume) {
    io::Mutex::Guard guard = co_await core.structure_lock.lock();
    CO_TRY(still_here(core, volume));
    StructureRecord change;
    change.put(core.objects.find(volume)->record);
    change.items.back().object.set(ObjectRecord::kHydrating, false);
    co_return co_await commit_structure(core, std::move(change));
}

}  // namespace

io::Task<Result<void>> hydrate_volume(Core& core, Uuid volume, HydrateOptions options) {
    CO_TRY_ASSIGN(Object * object, find_live_volume(core, volume));
    if (!anybody_asks(core, *object)) co_return Result<void>{};
    if (!options.patient) CO_TRY(origin_of(core, *object));
    std::optional<Hold> hold;
    CO_TRY(co_await begin_hydration(core, volume, hold));
    bool stopped = false;
    const Progress progress = [&options, &stopped](uint64_t done, uint64_t total) {
        stopped = stopped || (options.progress && !options.progress(done, total));
        return !stopped;
    };
    std::string told;
    for (;;) {
        const Result<void> result = co_await hydrate_all(core, *object, progress);
        if (stopped) CO_TRY(co_await forget_hydration(core, volume));
        if (result.ok() || stopped) co_return result;
        CO_TRY(still_here(core, volume));
        // An origin that is being taken away says `cancelled`.
        const ErrorCode code = result.error().code();
        const bool may_pass =
            code == ErrorCode::io || code == ErrorCode::no_space || code == ErrorCode::cancelled;
        if (!options.patient || !may_pass) co_return result;
        if (told != result.error().message()) {
            told = result.error().message();
            core.event(fmt::format("hydration of {} waits: {}", object->record.name, told));
        }
        const Result<void> waited = co_await be_patient(core, volume, progress);
        if (stopped) CO_TRY(co_await forget_hydration(core, volume));
        CO_TRY(waited);
    }
}

}  // namespace stoa::pool
