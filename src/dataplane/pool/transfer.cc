#include "dataplane/pool/transfer.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "dataplane/pool/structure.h"
#include "dataplane/pool/volume_handle.h"

namespace stoa::pool {

namespace {

struct LeafCopy {
    std::array<Entry, kFanout> expected{};
    std::array<Epoch, kFanout> births{};
};

// Copies blocks [first, first + count) whose content is in `content` and whose entries are still
// as expected.
io::Task<Result<void>> insert_copies(Core& core, Object& object, const LeafCopy& copy,
                                     BlockIndex first, size_t count, const std::byte* content,
                                     uint8_t flags) {
    MapChange change;
    change.first = first;
    change.count = count;
    change.content = content;
    change.expected = copy.expected.data() + entry_index(first, 0);
    change.births = copy.births.data() + entry_index(first, 0);
    change.flags = flags;
    const bool never = false;
    CO_TRY(co_await store_blocks(core, object, change, never, WhenFull::fail));
    CO_TRY_ASSIGN(const MapChangeResult done, co_await change_map(core, object, change));
    static_cast<void>(done);
    co_return Result<void>{};
}

// Entries that the parent holds as well, read and written anew.
io::Task<Result<void>> flatten_leaf(Core& core, Object& object, BlockIndex first, size_t count) {
    LeafCopy copy;
    CO_TRY_ASSIGN(const Found found, co_await look_up(core, object, first));
    for (size_t i = 0; i < count; ++i) {
        copy.expected[i] = found.entry(first + i);
        copy.births[i] = copy.expected[i].birth();
    }
    BouncePool::Buffer bounce = co_await core.bounce.acquire(kBlockBytes);
    for (size_t i = 0; i < count; ++i) {
        const Entry entry = copy.expected[i];
        if (entry.kind() != EntryKind::data) continue;
        const Object* parent = core.objects.find(object.record.parent);
        if (parent == nullptr) co_return Result<void>{};
        CO_TRY_ASSIGN(const Found theirs, co_await look_up(core, *parent, first + i));
        if (theirs.entry(first + i) != entry) continue;
        {
            // Not longer: a checkpoint waits for readers, and the write below may wait for it.
            const ReadGuard guard(core);
            CO_TRY_ASSIGN(const Found now, co_await look_up(core, object, first + i));
            if (now.entry(first + i) != entry) continue;
            CO_TRY(co_await core.blocks.read(entry, bounce.bytes(kBlockBytes)));
        }
        CO_TRY(co_await insert_copies(
            core, object, copy, first + i, 1, bounce.data(),
            static_cast<uint8_t>(Entry::kMoved | (entry.flags() & Entry::kHydrated))));
    }
    co_return Result<void>{};
}

struct SharedNode {
    Missing missing;
    bool found = false;
    BlockIndex block = 0;  // a block below the shared node that is not data
    bool unfinished = false;  // enough work for now: go on from the cursor
};

constexpr size_t kDescentsAtOnce = 4096;

// The next node at or after `cursor` that the parent's tree holds as well.
SharedNode find_shared_node(Core& core, const Object& object, const Object& parent,
                            BlockIndex& cursor) {
    SharedNode result;
    for (size_t descents = 0; cursor < kBlocksPerTree; ++descents) {
        if (descents == kDescentsAtOnce) {
            result.unfinished = true;
            return result;
        }
        Entry mine = object.record.root;
        Entry theirs = parent.record.root;
        bool shared = false;
        for (int level = kRootLevel;; --level) {
            const uint64_t span = entry_blocks(level + 1);
            if (mine.kind() != EntryKind::node) {
                cursor = (cursor / span + 1) * span;
                break;
            }
            shared = shared || core.cache.identity(mine) == core.cache.identity(theirs);
            const Node* node = core.cache.resident(mine);
            const Node* other =
                theirs.kind() == EntryKind::node && !shared ? core.cache.resident(theirs) : nullptr;
            if (node == nullptr || node->level != level) {
                result.missing = {mine, level};
                return result;
            }
            if (!shared && theirs.kind() == EntryKind::node &&
                (other == nullptr || other->level != level)) {
                result.missing = {theirs, level};
                return result;
            }
            size_t index = entry_index(cursor, level);
            if (shared) {
                // Any block below will do, as long as it is not data.
                index = 0;
                while (index < kFanout && node->entries[index].kind() == EntryKind::data) ++index;
                if (index == kFanout) return result;
                cursor = cursor / span * span + index * entry_blocks(level);
                if (level == 0 || node->entries[index].kind() != EntryKind::node) {
                    result.found = true;
                    result.block = cursor;
                    return result;
                }
            } else if (level == 0) {
                cursor = (cursor / kFanout + 1) * kFanout;
                break;
            }
            mine = node->entries[index];
            theirs = other != nullptr ? other->entries[index] : Entry{};
        }
    }
    return result;
}

// Copies every node that is still the parent's. The record says "block b becomes what it is", so
// that a replay makes the same copy.
io::Task<Result<void>> own_all_nodes(Core& core, Object& object) {
    BlockIndex cursor = 0;
    for (;;) {
        CO_TRY(co_await core.wait_for_room(kMapRecordBytesMax, {.makes_nodes = true}));
        const Object* parent = core.objects.find(object.record.parent);
        if (parent == nullptr) co_return Result<void>{};
        const SharedNode shared = find_shared_node(core, object, *parent, cursor);
        if (shared.unfinished) {
            co_await core.executor.yield();
            continue;
        }
        Missing missing = shared.missing;
        if (!missing.any() && !shared.found) {
            if (cursor >= kBlocksPerTree) co_return Result<void>{};
            co_return Error(ErrorCode::busy,
                            fmt::format("the parent of volume {} gained data while it was copied; "
                                        "flatten it again",
                                        object.record.name));
        }
        Node* leaf = missing.any()
                         ? nullptr
                         : core.writer.writable_leaf(object, shared.block, core.epoch, missing);
        if (leaf == nullptr) {
            CO_TRY_ASSIGN(Node * loaded, co_await core.cache.load(missing.entry, missing.level));
            static_cast<void>(loaded);
            continue;
        }
        const Entry same = leaf->entries[entry_index(shared.block, 0)];
        if (same.kind() == EntryKind::data) continue;
        core.objects.mark_dirty(object);
        std::byte record[96];
        const size_t bytes =
            encode_single_block(object.record.id, shared.block, same, same, false, record);
        core.append({record, bytes});
    }
}

// Everything that `object` shares with its parent becomes its own.
io::Task<Result<void>> copy_shared(Core& core, Object& object, Uuid volume,
                                   const Progress& progress) {
    for (BlockIndex first = 0; first < object.record.size_blocks();) {
        CO_TRY(still_here(core, volume));
        CO_TRY_ASSIGN(const Found found, co_await look_up(core, object, first));
        const BlockIndex end = found.end(first);
        if (found.leaf != nullptr) {
            const size_t count = std::min<uint64_t>(kFanout, object.record.size_blocks() - first);
            CO_TRY(co_await flatten_leaf(core, object, first, count));
        }
        first = end;
        CO_TRY(tell(progress, std::min(first, object.record.size_blocks()),
                    object.record.size_blocks()));
        co_await core.executor.yield();
    }
    // Nodes without data are shared still.
    co_return co_await own_all_nodes(core, object);
}

}  // namespace

Result<void> still_here(Core& core, const Uuid& volume) {
    if (core.closing) return core.closing_error();
    TRY_ASSIGN(Object * object, find_live_volume(core, volume));
    static_cast<void>(object);
    return {};
}

Result<void> tell(const Progress& progress, BlockIndex done, BlockIndex total) {
    if (!progress || progress(done * kBlockBytes, total * kBlockBytes)) return {};
    return Error(ErrorCode::cancelled, "stopped, as asked");
}

io::Task<Result<void>> flatten_volume(Core& core, Uuid volume, Progress progress) {
    CO_TRY_ASSIGN(Object * object, find_live_volume(core, volume));
    {
        io::Mutex::Guard guard = co_await core.structure_lock.lock();
        CO_TRY(still_here(core, volume));
        if (object->record.parent == 0) co_return Result<void>{};
        if (is_family_hydrating(core, *object)) {
            co_return Error(ErrorCode::busy,
                            fmt::format("the family of volume {} is being hydrated; flatten it "
                                        "afterwards",
                                        object->record.name));
        }
        if (!core.objects.snapshots_of(object->record.id).empty()) {
            co_return Error(ErrorCode::in_use,
                            fmt::format("volume {} has snapshots of its own, which share blocks "
                                        "with its parent; delete them first",
                                        object->record.name));
        }
        StructureRecord change;
        change.put(object->record);
        change.items.back().object.set(ObjectRecord::kFlattening, true);
        CO_TRY(co_await commit_structure(core, std::move(change)));
    }
    const Hold hold(core, *object);
    // The parent's nodes are compared with: if it is deleted, it stays whole until this has ended.
    std::optional<Hold> parent_hold;
    Result<void> copied = co_await wait_for_reclaim(core, volume);
    if (copied.ok()) {
        if (Object* parent = core.objects.find(object->record.parent); parent != nullptr) {
            parent_hold.emplace(core, *parent);
        }
        copied = co_await copy_shared(core, *object, volume, progress);
    }
    io::Mutex::Guard guard = co_await core.structure_lock.lock();
    CO_TRY(still_here(core, volume));
    // What failed for good does not leave the volume marked; a close or crash goes on later.
    StructureRecord change;
    change.put(object->record);
    ObjectRecord& next = change.items.back().object;
    next.set(ObjectRecord::kFlattening, false);
    if (copied.ok()) next.parent = 0;
    CO_TRY(co_await commit_structure(core, std::move(change)));
    co_return copied;
}

}  // namespace stoa::pool
