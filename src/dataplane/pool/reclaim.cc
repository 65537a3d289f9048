#include "dataplane/pool/reclaim.h"

#include <algorithm>

#include <fmt/format.h>

#include "dataplane/pool/commit.h"
#include "dataplane/pool/structure.h"

namespace stoa::pool {

namespace {

constexpr size_t kRunsPerStep = 600;      // at most 5 KiB a record
constexpr size_t kEntriesPerStep = 65536; // visited, so that others are not kept waiting

void add_run(std::vector<Run>& runs, BlockAddress address) {
    if (!runs.empty() && runs.back().address + runs.back().count == address &&
        runs.back().count < (1U << 23)) {
        ++runs.back().count;
    } else {
        runs.push_back({address, 1});
    }
}

// The same position in several trees, descended together.
struct Position {
    Entry entry;
    const Node* node = nullptr;
};

bool shared_with_any(Core& core, const Entry& entry, const std::vector<Position>& others) {
    const Entry identity = core.cache.identity(entry);
    return std::ranges::any_of(others, [&](const Position& other) {
        return core.cache.identity(other.entry) == identity;
    });
}

// Opens the nodes of all positions; false: something must be loaded.
bool open_nodes(Core& core, Position& tree, std::vector<Position>& others, int level,
                Missing& missing) {
    const auto open = [&](Position& at) {
        at.node = nullptr;
        if (at.entry.kind() != EntryKind::node) return true;
        at.node = core.cache.resident(at.entry);
        if (at.node != nullptr && at.node->level == level) return true;
        missing = {at.entry, level};
        return false;
    };
    if (!open(tree)) return false;
    return std::ranges::all_of(others, open);
}

// A non-node entry stands for all of its children.
Entry child_entry(const Position& at, size_t index) {
    if (at.node != nullptr) return at.node->entries[index];
    return at.entry.kind() == EntryKind::hole ? at.entry : Entry{};
}

void free_leaf(Core& core, const Position& tree, const std::vector<Position>& others,
               BlockIndex cursor, ExclusiveWalk& walk) {
    static_cast<void>(core);
    for (size_t i = entry_index(cursor, 0); i < kFanout; ++i) {
        const Entry entry = tree.node->entries[i];
        if (entry.kind() != EntryKind::data) continue;
        const bool shared = std::ranges::any_of(others, [&](const Position& other) {
            return other.node != nullptr && other.node->entries[i] == entry;
        });
        if (shared && !MUTANT(24)) continue;
        add_run(walk.freed, entry.address());
        ++walk.data_blocks;
    }
}

// After `next` was reached: the nodes of the path whose range is done.
void free_finished(const std::array<const Node*, kRootLevel + 1>& path, int lowest, BlockIndex next,
                   ExclusiveWalk& walk) {
    for (int level = lowest; level <= kRootLevel; ++level) {
        if (path[static_cast<size_t>(level)] == nullptr) continue;
        if (next % entry_blocks(level + 1) != 0 && !MUTANT(44)) return;
        add_run(walk.freed, path[static_cast<size_t>(level)]->address);
    }
}

// One descent from the root at walk.cursor. Moves the cursor on unless something is missing.
void descend(Core& core, const Object& tree, const std::vector<const Object*>& neighbours,
             ExclusiveWalk& walk, size_t& visited) {
    Position at{tree.record.root, nullptr};
    std::vector<Position> others;
    for (const Object* neighbour : neighbours) others.push_back({neighbour->record.root, nullptr});
    std::array<const Node*, kRootLevel + 1> path{};
    const BlockIndex cursor = walk.cursor;
    for (int level = kRootLevel;; --level) {
        ++visited;
        if (at.entry.kind() != EntryKind::node || shared_with_any(core, at.entry, others)) {
            const uint64_t span = entry_blocks(level + 1);
            walk.cursor = (cursor / span + 1) * span;
            if (level < kRootLevel) free_finished(path, level + 1, walk.cursor, walk);
            return;
        }
        if (!open_nodes(core, at, others, level, walk.missing)) {
            if (walk.missing.entry != walk.lost) return;
            // Whether a neighbour holds it, or what it holds, is not to be known any more.
            if (walk.lost == at.entry) add_run(walk.freed, at.entry.address());
            walk.missing = {};
            const uint64_t span = entry_blocks(level + 1);
            walk.cursor = (cursor / span + 1) * span;
            if (level < kRootLevel) free_finished(path, level + 1, walk.cursor, walk);
            return;
        }
        path[static_cast<size_t>(level)] = at.node;
        if (level == 0) {
            free_leaf(core, at, others, cursor, walk);
            walk.cursor = (cursor / kFanout + 1) * kFanout;
            free_finished(path, 0, walk.cursor, walk);
            return;
        }
        // Go over what cannot hold anything without starting at the root again.
        size_t index = entry_index(cursor, level);
        if (at.node->entries[index].kind() != EntryKind::node) {
            while (index < kFanout && at.node->entries[index].kind() != EntryKind::node) {
                ++index;
                ++visited;
            }
            const uint64_t span = entry_blocks(level + 1);
            walk.cursor = cursor / span * span + index * entry_blocks(level);
            free_finished(path, level, walk.cursor, walk);
            return;
        }
        for (Position& other : others) other.entry = child_entry(other, index);
        at.entry = at.node->entries[index];
    }
}

std::vector<const Object*> neighbours_of(const Core& core, const Object& tree) {
    std::vector<const Object*> found;
    if (const Object* parent = core.objects.find(tree.record.parent); parent != nullptr) {
        found.push_back(parent);
    }
    if (MUTANT(25)) return found;  // children are forgotten
    for (const ObjectId child : tree.children) found.push_back(core.objects.find(child));
    return found;
}

bool can_reclaim(const Core& core, const Object& object) {
    if (!object.record.has(ObjectRecord::kDeleted) || object.children.size() > 1 ||
        object.readers > 0 || object.holds > 0) {
        return false;
    }
    if (object.record.kind != ObjectKind::volume) return true;
    // Its snapshots take their fate from it.
    return std::ranges::all_of(core.objects.snapshots_of(object.record.id), [&](ObjectId id) {
        return core.objects.find(id)->record.has(ObjectRecord::kDeleted);
    });
}

Object* next_to_reclaim(Core& core) {
    Object* running = core.objects.find(core.reclaiming);
    if (running != nullptr && running->record.has(ObjectRecord::kDeleted)) return running;
    for (const ObjectId id : core.objects.deleted()) {
        Object* object = core.objects.find(id);
        if (can_reclaim(core, *object)) return object;
    }
    return nullptr;
}

io::Task<Result<void>> finish(Core& core, ObjectId id) {
    io::Mutex::Guard guard = co_await core.structure_lock.lock();
    StructureRecord change;
    for (const ObjectId range : core.objects.damage_of(id)) change.remove(range);
    change.remove(id);
    std::vector<std::byte> encoded;
    encode_record(change, encoded);
    CO_TRY(co_await core.wait_for_room(encoded.size()));
    CO_TRY(apply_structure(core, change));
    core.reclaiming = 0;
    core.append(encoded);
    co_return Result<void>{};
}

// One journaled step. True: the tree is done.
io::Task<Result<bool>> reclaim_step(Core& core, Object& tree) {
    if (tree.record.cursor >= kBlocksPerTree) {
        CO_TRY(co_await finish(core, tree.record.id));
        co_return true;
    }
    CO_TRY(co_await core.wait_for_room(kRunsPerStep * 8 + 4096));
    // A copy from it may have begun meanwhile.
    if (core.reclaiming != tree.record.id && !can_reclaim(core, tree)) co_return false;
    // A snapshot or clone may have been made of the child meanwhile; they are looked up each time.
    ExclusiveWalk walk;
    walk.cursor = tree.record.cursor;
    walk.lost = tree.lost_node;
    walk_exclusive(core, tree, neighbours_of(core, tree), walk);
    if (walk.cursor != tree.record.cursor) {
        core.reclaiming = tree.record.id;
        ReclaimRecord record;
        record.object = tree.record.id;
        record.cursor = walk.cursor;
        record.unmapped = walk.data_blocks;
        record.freed = walk.freed;
        std::vector<std::byte> encoded;
        encode_record(record, encoded);
        tree.record.cursor = walk.cursor;
        tree.record.mapped -= std::min(tree.record.mapped, walk.data_blocks);
        core.objects.mark_dirty(tree);
        for (const Run& run : walk.freed) core.regions.free(run);
        if (!MUTANT(36)) core.append(encoded);
    }
    if (walk.missing.any()) {
        const ReadGuard guard(core);
        Result<Node*> loaded = co_await core.cache.load(walk.missing.entry, walk.missing.level);
        if (!loaded.ok() && loaded.error().code() == ErrorCode::corrupt) {
            // Damage in one tree keeps no other from being reclaimed.
            core.event(fmt::format("blocks that {} held are lost to the pool: {}", tree.record.name,
                                   loaded.error().message()));
            tree.lost_node = walk.missing.entry;
        } else if (!loaded.ok()) {
            co_return loaded.take_error();
        }
    }
    co_return false;
}

// Marks one snapshot of a deleted volume. True: there was one.
io::Task<Result<bool>> follow_volume(Core& core) {
    io::Mutex::Guard guard = co_await core.structure_lock.lock();
    for (const ObjectId id : core.objects.deleted()) {
        if (core.objects.find(id)->record.kind != ObjectKind::volume) continue;
        for (const ObjectId snapshot_id : core.objects.snapshots_of(id)) {
            Object* snapshot = core.objects.find(snapshot_id);
            if (snapshot->record.has(ObjectRecord::kDeleted)) continue;
            StructureRecord change;
            change.put(snapshot->record);
            change.items.back().object.set(ObjectRecord::kDeleted, true);
            change.items.back().object.cursor = 0;
            CO_TRY(co_await commit_structure(core, std::move(change)));
            co_return true;
        }
    }
    co_return false;
}

// One shrink of all that are pending. What cannot go on is told in `stuck`.
io::Task<Result<bool>> finish_trim(Core& core, std::optional<Error>& stuck) {
    const std::set<ObjectId> all = core.objects.trimming();
    for (const ObjectId id : all) {
        io::Mutex::Guard guard = co_await core.structure_lock.lock();
        if (!core.objects.trimming().contains(id)) continue;
        Object* object = core.objects.find(id);
        Result<void> trimmed = co_await trim_beyond_end(core, *object);
        if (trimmed.ok()) co_return true;
        if (!core.writable() || core.closing) co_return trimmed.take_error();
        stuck = trimmed.take_error();
    }
    co_return false;
}

// One piece of background work. False: nothing to do now.
io::Task<Result<bool>> work_once(Core& core) {
    std::optional<Error> stuck;  // the others go on
    CO_TRY_ASSIGN(const bool trimmed, co_await finish_trim(core, stuck));
    if (trimmed) co_return true;
    CO_TRY_ASSIGN(const bool followed, co_await follow_volume(core));
    if (followed) co_return true;
    Object* tree = next_to_reclaim(core);
    if (tree == nullptr && stuck) co_return *std::move(stuck);
    if (tree == nullptr) co_return false;
    // Its nodes must have their final addresses: they get them in the next checkpoint.
    if (tree->deleted_after_freeze >= core.durable_freeze) {
        core.want_checkpoint();
        co_return false;
    }
    CO_TRY(co_await reclaim_step(core, *tree));
    co_return true;
}

}  // namespace

namespace {

// The hidden parent that would go, too, when `tree` goes: at most one other child hangs on it. A
// tree that leaves a child behind is replaced by it, and nothing changes for the parent.
const Object* hidden_parent_freed_by(const Core& core, const Object& tree) {
    if (tree.children.size() > (is_gone(core, tree) ? 1U : 0U)) return nullptr;
    const Object* parent = core.objects.find(tree.record.parent);
    if (parent == nullptr || !is_gone(core, *parent) || parent->children.size() > 2) {
        return nullptr;
    }
    return parent;
}

}  // namespace

void walk_exclusive(Core& core, const Object& tree, const std::vector<const Object*>& neighbours,
                    ExclusiveWalk& walk) {
    size_t visited = 0;
    while (walk.cursor < kBlocksPerTree && walk.freed.size() + kFanout + 8 < kRunsPerStep &&
           visited < kEntriesPerStep && !walk.missing.any()) {
        descend(core, tree, neighbours, walk, visited);
    }
}

bool reclaim_pending(const Core& core) {
    for (const ObjectId id : core.objects.deleted()) {
        const Object& object = *core.objects.find(id);
        if (can_reclaim(core, object)) return true;
        if (object.record.kind != ObjectKind::volume) continue;
        for (const ObjectId snapshot : core.objects.snapshots_of(id)) {
            if (!core.objects.find(snapshot)->record.has(ObjectRecord::kDeleted)) return true;
        }
    }
    return core.holds > 0 || !core.objects.trimming().empty();
}

io::Task<void> run_reclaimer(Core& core) {
    while (core.writable() && !core.closing) {
        Result<bool> worked = co_await work_once(core);
        if (!worked.ok()) {
            if (!core.writable() || core.closing) break;
            // A damaged node: its tree stays as it is; the others go on when something changes.
            core.event("background reclaim stopped: " + worked.error().message());
            core.background_error = worked.take_error();
            core.work.notify_all();
        } else if (*worked) {
            if (core.work.has_waiters()) core.work.notify_all();
            co_await core.executor.yield();
            continue;
        }
        // What waits for a checkpoint goes on when that is done: it signals.
        if (!reclaim_pending(core)) core.work.notify_all();
        if (core.closing || !core.writable()) break;
        co_await core.reclaim_signal.wait();
    }
    core.work.notify_all();
}

io::Task<Result<uint64_t>> count_exclusive_bytes(Core& core, Uuid uuid) {
    uint64_t blocks = 0;
    // The tree itself, then hidden ancestors that would be left with one child at most.
    for (size_t step = 0;; ++step) {
        BlockIndex cursor = 0;
        while (cursor < kBlocksPerTree) {
            CO_TRY_ASSIGN(const Object* tree, find_live_tree(core, uuid));
            const Object* leaving = nullptr;
            for (size_t i = 0; i < step && tree != nullptr; ++i) {
                leaving = tree;
                tree = hidden_parent_freed_by(core, *leaving);
            }
            if (tree == nullptr || (step == 0 && tree->children.size() > 1)) {
                co_return blocks* kBlockBytes;
            }
            std::vector<const Object*> neighbours = neighbours_of(core, *tree);
            std::erase(neighbours, leaving);
            ExclusiveWalk walk;
            walk.cursor = cursor;
            walk_exclusive(core, *tree, neighbours, walk);
            blocks += walk.data_blocks;
            cursor = walk.cursor;
            if (walk.missing.any()) {
                const ReadGuard guard(core);  // not longer: a checkpoint waits for readers
                CO_TRY_ASSIGN(Node * loaded,
                              co_await core.cache.load(walk.missing.entry, walk.missing.level));
                static_cast<void>(loaded);
            }
            co_await core.executor.yield();
        }
    }
}

}  // namespace stoa::pool
