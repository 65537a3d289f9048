#include "dataplane/pool/checkpoint.h"

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>

#include <fmt/format.h>

#include "dataplane/io/system_error.h"
#include "dataplane/pool/commit.h"
#include "dataplane/pool/node_flusher.h"

namespace stoa::pool {

namespace {

constexpr int kWriteAttempts = 8;

// What the freeze captured.
struct Frozen {
    FrozenSpace space;
    Epoch epoch = 0;
    uint64_t number = 0;
    uint64_t era = 0;
    std::map<uint32_t, std::array<ObjectRecord, kObjectsPerBlock>> object_blocks;
    ObjectId next_object = 0;
    uint32_t object_slots = 0;
};

void freeze(Core& core, Frozen& frozen) {
    frozen.space = core.regions.freeze();
    frozen.epoch = core.epoch;
    ++core.epoch;
    core.writer.set_frozen_epoch(frozen.epoch);
    frozen.era = core.readers.advance();
    core.records_since_checkpoint = 0;
    frozen.number = ++core.freezes;
    std::set<uint32_t> blocks;
    for (const uint32_t slot : core.objects.take_dirty_slots()) {
        blocks.insert(slot / kObjectsPerBlock);
    }
    for (const uint32_t block : blocks) {
        auto& records = frozen.object_blocks[block];
        for (size_t i = 0; i < kObjectsPerBlock; ++i) {
            const auto slot = static_cast<uint32_t>(block * kObjectsPerBlock + i);
            if (slot >= core.objects.slot_count()) break;
            const Object* object = core.objects.in_slot(slot);
            if (object == nullptr) continue;
            records[i] = object->record;
            core.cache.ref(records[i].root);
        }
    }
    frozen.next_object = core.next_object;
    frozen.object_slots = core.objects.slot_count();
}

io::Task<Result<void>> write_object_block(
    Core& core, Frozen& frozen, uint32_t block,
    const std::array<ObjectRecord, kObjectsPerBlock>& records) {
    AlignedBuffer content(kBlockBytes);
    std::ranges::fill(content.bytes(), std::byte{0});
    for (size_t i = 0; i < kObjectsPerBlock; ++i) {
        if (records[i].kind == ObjectKind::free) continue;
        encode_object(records[i], content.data() + i * kObjectBytes);
    }
    Entry now;
    for (int attempt = 1;; ++attempt) {
        CO_TRY_ASSIGN(const BlockAddress address,
                      co_await core.regions.allocate_node(RegionClass::meta));
        const uint32_t crc = core.checksums.block(content.bytes(), address, frozen.epoch);
        const int error = co_await core.blocks.write(address, content.bytes());
        if (error == 0) {
            core.regions.commit_allocated({address, 1}, &frozen.space);
            now = Entry::make(EntryKind::data, address, frozen.epoch, crc);
            break;
        }
        core.regions.give_up(address, error, &frozen.space);
        if (attempt >= kWriteAttempts || !is_bad_place(error)) {
            co_return io::failed_io("an object block could not be written", error);
        }
    }
    for (;;) {
        Missing missing;
        Node* leaf =
            core.object_writer.writable_leaf(core.object_tree, block, frozen.epoch, missing);
        if (leaf == nullptr) {
            CO_TRY_ASSIGN(Node * loaded, co_await core.cache.load(missing.entry, missing.level,
                                                                  RegionClass::meta));
            static_cast<void>(loaded);
            continue;
        }
        Entry& slot = leaf->entries[entry_index(block, 0)];
        if (slot.kind() == EntryKind::data) core.regions.free({slot.address(), 1}, &frozen.space);
        slot = now;
        co_return Result<void>{};
    }
}

// Trees that did not change since the freeze name their roots by address from now on.
void settle_roots(Core& core) {
    for (const auto& [id, object] : core.objects.all()) {
        const Entry before = object->record.root;
        if (!before.is_handle()) continue;
        const Entry now = core.cache.identity(before);
        if (now.is_handle()) continue;
        object->record.root = now;
        core.cache.unref(before);
    }
}

io::Task<Result<void>> write_objects(Core& core, Frozen& frozen) {
    NodeFlusher flusher(core, &frozen.space);
    Result<void> outcome;
    for (auto& [block, records] : frozen.object_blocks) {
        for (ObjectRecord& record : records) {
            if (record.kind == ObjectKind::free || !record.is_tree()) continue;
            if (outcome.ok() && !MUTANT(14)) outcome = co_await flusher.flush(record.root);
            if (record.root.is_handle()) {  // failed: let go of it
                core.cache.unref(record.root);
                record.root = Entry{};
            }
        }
    }
    CO_TRY(outcome);
    settle_roots(core);
    core.object_writer.set_space(&frozen.space);
    for (auto& [block, records] : frozen.object_blocks) {
        outcome = co_await write_object_block(core, frozen, block, records);
        if (!outcome.ok()) break;
    }
    core.object_writer.set_space(nullptr);
    CO_TRY(outcome);
    co_return co_await flusher.flush(core.object_tree.record.root, RegionClass::meta);
}

// Writes the table and index blocks that changed to their other slots; `next` gets the index.
io::Task<Result<void>> write_tables(Core& core, const Frozen& frozen, Superblock& next,
                                    std::vector<CheckedSlot>& tables) {
    const std::vector<RegionEntry> entries = core.regions.table_with(frozen.space);
    std::set<uint32_t> changed;
    for (const FrozenSpace::Update& update : frozen.space.updates) {
        changed.insert(static_cast<uint32_t>(update.region / kRegionsPerTableBlock));
    }
    std::set<uint32_t> changed_index;
    AlignedBuffer buffer(kBlockBytes);
    int error = 0;
    for (const uint32_t t : changed) {
        std::ranges::fill(buffer.bytes(), std::byte{0});
        for (size_t i = 0; i < kRegionsPerTableBlock; ++i) {
            const size_t region = t * kRegionsPerTableBlock + i;
            if (region >= entries.size()) break;
            encode_region(entries[region], buffer.data() + i * kRegionEntryBytes);
        }
        const auto slot = static_cast<uint8_t>(tables[t].crc == 0 ? 0 : 1 - tables[t].slot);
        tables[t] = {stored_crc(core.checksums.block(buffer.bytes(), table_place(t), 0)), slot};
        changed_index.insert(static_cast<uint32_t>(t / kTablesPerIndexBlock));
        for (int copy = 0; copy < 2; ++copy) {
            const size_t device = next.placement[static_cast<size_t>(copy)];
            if (core.devices.list[device].device == nullptr) continue;
            const DeviceLayout& layout = core.devices.list[device].layout;
            const int result = co_await core.devices.write(
                device, layout.table_block(copy, slot, t), buffer.bytes());
            if (result != 0) error = result;
        }
    }
    for (const uint32_t i : changed_index) {
        std::ranges::fill(buffer.bytes(), std::byte{0});
        for (size_t n = 0; n < kTablesPerIndexBlock; ++n) {
            const size_t t = i * kTablesPerIndexBlock + n;
            if (t >= tables.size()) break;
            store_le(buffer.data() + n * 8, tables[t].crc);
            store_le(buffer.data() + n * 8 + 4, tables[t].slot);
        }
        const auto slot = static_cast<uint8_t>(next.index[i].crc == 0 ? 0 : 1 - next.index[i].slot);
        next.index[i] = {stored_crc(core.checksums.block(buffer.bytes(), index_place(i), 0)), slot};
        for (int copy = 0; copy < 2; ++copy) {
            const size_t device = next.placement[static_cast<size_t>(copy)];
            if (core.devices.list[device].device == nullptr) continue;
            const DeviceLayout& layout = core.devices.list[device].layout;
            const int result = co_await core.devices.write(
                device, layout.index_block(copy, slot, i), buffer.bytes());
            if (result != 0) error = result;
        }
    }
    if (error != 0) {
        co_return io::failed_io("the region table could not be written", error);
    }
    co_return Result<void>{};
}

// Somebody else may have taken the devices over while this process was stopped. The newest
// superblock must be the one that this process found or wrote, with the token in it; what it writes
// just now bears its own.
io::Task<Result<void>> check_owner(Core& core) {
    AlignedBuffer block(kBlockBytes);
    const uint64_t generation = std::max(core.superblock.generation, core.newest_generation);
    for (size_t d = 0; d < core.devices.list.size(); ++d) {
        if (!core.devices.list[d].is_member()) continue;
        for (const auto& copy : core.devices.list[d].layout.superblock) {
            // The other slot is where a successor would have written.
            for (const uint64_t at : copy) {
                if (co_await core.devices.read(d, at, block.bytes()) != 0) continue;
                const Result<Superblock> found = decode_superblock(block.bytes());
                if (!found.ok() || found->pool != core.superblock.pool) continue;
                const bool newer = found->generation > generation;
                const bool instead = found->generation == core.superblock.generation &&
                                     found->owner != core.superblock.owner &&
                                     std::ranges::find(core.cut_short_owners, found->owner) ==
                                         core.cut_short_owners.end();
                if (found->owner == core.owner || (!newer && !instead)) continue;
                co_return Error(
                    ErrorCode::busy,
                    fmt::format("another process took pool {} over: device {} has superblock "
                                "generation {} of owner {}; {} is ours, of owner {}",
                                core.label.name, core.devices.list[d].device->name(),
                                found->generation, found->owner.to_string(),
                                core.superblock.generation, core.superblock.owner.to_string()));
            }
        }
    }
    co_return Result<void>{};
}

// To both copies on the devices of `wanted`; durable when it resolves to 0. ENOSPC: may be tried
// again.
io::Task<int> put_superblock(Core& core, uint64_t generation, ConstBytes block,
                             const std::function<bool(size_t device)>& wanted) {
    int error = 0;
    for (size_t d = 0; d < core.devices.list.size(); ++d) {
        const PoolDevice& device = core.devices.list[d];
        if (device.device == nullptr || (device.stale && !device.joins) || !wanted(d)) continue;
        for (const auto& copy : device.layout.superblock) {
            const int result = co_await core.devices.write_once(d, copy[generation % 2], block);
            if (result != 0) error = result;
        }
    }
    if (error == 0 && !MUTANT(16)) error = co_await core.devices.flush_touched();
    else co_return error;
    co_return error == ENOSPC ? EIO : error;  // a flush is never tried again
}

}  // namespace

io::Task<Result<void>> write_superblock(Core& core, Superblock next) {
    if (core.failure) co_return core.read_only_error();
    if (!MUTANT(15)) {
        const int before = co_await core.devices.flush_touched();
        if (before != 0) {
            co_return io::failed_io("a checkpoint could not be flushed", before);
        }
    }
    next.generation = std::max(core.superblock.generation, core.newest_generation) + 1;
    // Never over the one that is in use.
    if (next.generation % 2 == core.superblock.generation % 2) ++next.generation;
    next.owner = core.owner;
    next.wall_ns = core.executor.wall_ns();
    AlignedBuffer block(kBlockBytes);
    encode_superblock(next, block.bytes());
    // A device that joins has it only if all members have it: so none of them can be opened later
    // with a state in which it is not one.
    const auto joins = [&core, &next](size_t d) {
        return core.devices.list[d].joins ||
               (core.superblock.devices[d].state == DeviceState::absent &&
                next.devices[d].state == DeviceState::present);
    };
    bool any_joins = false;
    for (size_t d = 0; d < core.devices.list.size(); ++d) any_joins = any_joins || joins(d);
    int error = 0;
    do {
        // Each time: another process may have come while this one waited for a full host.
        CO_TRY(co_await check_owner(core));
        error = co_await put_superblock(core, next.generation, block.bytes(),
                                        [&](size_t d) { return !joins(d); });
        if (error == 0 && any_joins) {
            error = co_await put_superblock(core, next.generation, block.bytes(), joins);
        }
    } while (error == ENOSPC && co_await core.devices.pause_for_host());
    if (error != 0) co_return io::failed_io("a superblock could not be written", error);
    for (PoolDevice& device : core.devices.list) {
        device.stale = device.stale && !device.joins;
        device.joins = false;
    }
    core.superblock = std::move(next);
    co_return Result<void>{};
}

io::Task<Result<void>> write_checkpoint(Core& core) {
    io::Mutex::Guard running = co_await core.checkpoint_lock.lock();
    core.checkpoint_wanted = false;
    const uint64_t begin_ns = core.executor.now_ns();
    Frozen frozen;
    Superblock next;
    std::vector<CheckedSlot> tables;
    {
        io::Mutex::Guard guard = co_await core.commit_lock.lock();
        const std::function<void()> at_boundary = [&core, &frozen] { freeze(core, frozen); };
        CO_TRY(co_await commit_all(core, at_boundary));
        next = core.superblock;
        next.journal_start = core.journal.next_block();
        next.commit = core.journal.last_commit();
        next.sequence = core.durable_sequence;
    }
    if (MUTANT(37)) core.journal.advance_tail(next.journal_start);  // before the superblock
    if (MUTANT(17)) CO_TRY(co_await write_superblock(core, next));  // before the nodes
    CO_TRY(co_await write_objects(core, frozen));
    CO_TRY(co_await core.regions.write_bitmaps(frozen.space, core.blocks, frozen.epoch));
    tables = core.tables;
    CO_TRY(co_await write_tables(core, frozen, next, tables));
    next.epoch = frozen.epoch + 1;
    next.flags = core.mark_clean ? Superblock::kClean : 0;
    next.object_root = core.object_tree.record.root;
    next.next_object = frozen.next_object;
    next.region_count = core.regions.region_count();
    next.object_slots = frozen.object_slots;
    next.bad_leaves = static_cast<uint32_t>(frozen.space.bad_blocks[2]);
    next.bad_doubled = static_cast<uint32_t>(frozen.space.bad_blocks[3]);
    next.bad_blocks = frozen.space.bad_blocks[1] + next.bad_leaves + next.bad_doubled;
    next.incarnation = core.superblock.incarnation;
    next.cuts = {{next.journal_start, next.incarnation, next.sequence}};
    for (size_t d = 0; d < core.devices.list.size(); ++d) {
        if (core.devices.list[d].joins) next.devices[d].state = DeviceState::present;
    }
    CO_TRY(co_await write_superblock(core, next));
    core.tables = std::move(tables);
    core.regions.make_durable(frozen.space);
    core.journal.advance_tail(next.journal_start);
    core.writer.set_frozen_epoch(frozen.epoch);
    core.durable_freeze = frozen.number;
    ++core.checkpoints_done;
    core.counters.checkpoint_ns += core.executor.now_ns() - begin_ns;
    core.room.notify_all();
    while (!core.readers.drained(frozen.era) && !MUTANT(18)) co_await core.readers_left.wait();
    core.regions.release(frozen.space);
    core.room.notify_all();
    core.reclaim_signal.notify_all();
    co_return Result<void>{};
}

io::Task<void> run_checkpointer(Core& core) {
    while (core.writable()) {
        if (core.checkpoint_wanted) {
            Result<void> result = co_await write_checkpoint(core);
            if (!result.ok()) core.fail(result.take_error());
            core.checkpoint_signal.notify_all();
            continue;
        }
        if (core.closing && core.background_stopped) co_return;
        co_await core.checkpoint_signal.wait();
    }
}

}  // namespace stoa::pool
