#include "dataplane/pool/open.h"

#include <algorithm>

#include <fmt/format.h>

#include "dataplane/pool/history.h"
#include "dataplane/pool/labels.h"
#include "dataplane/pool/map_change.h"
#include "dataplane/pool/recovery.h"
#include "dataplane/pool/resync.h"

namespace stoa::pool {

namespace {

// Puts the devices in the order of their labels. Errors name the device that does not fit.
io::Task<Result<std::vector<PoolDevice>>> gather(const std::vector<io::Device*>& devices) {
    std::vector<PoolDevice> ordered;
    const Label* first = nullptr;
    CO_TRY_ASSIGN(const std::vector<Label> labels, co_await read_labels(devices));
    for (size_t i = 0; i < devices.size(); ++i) {
        const Label& label = labels[i];
        if (first == nullptr) first = &label;
        if (label.pool != first->pool) {
            co_return Error(ErrorCode::invalid_argument,
                            fmt::format("device {} belongs to pool '{}' ({}), not to '{}' ({})",
                                        devices[i]->name(), label.name, label.pool.to_string(),
                                        first->name, first->pool.to_string()));
        }
        if (label.region_blocks != first->region_blocks ||
            label.journal_blocks != first->journal_blocks ||
            label.regions_max != first->regions_max) {
            co_return Error(ErrorCode::corrupt,
                            fmt::format("device {} has another geometry than {}",
                                        devices[i]->name(), devices[0]->name()));
        }
        while (ordered.size() <= label.device_index) {
            ordered.push_back({nullptr, label, DeviceLayout(label), false});
        }
        PoolDevice& slot = ordered[label.device_index];
        if (slot.device != nullptr) {
            co_return Error(ErrorCode::invalid_argument,
                            fmt::format("devices {} and {} both claim to be device {} of pool "
                                        "'{}': one is a copy",
                                        slot.device->name(), devices[i]->name(), label.device_index,
                                        label.name));
        }
        slot = {devices[i], label, DeviceLayout(label), false};
    }
    co_return ordered;
}

io::Task<std::vector<Candidate>> read_superblocks(Devices& devices, const Uuid& pool) {
    std::vector<Candidate> found;
    AlignedBuffer block(kBlockBytes);
    for (size_t d = 0; d < devices.list.size(); ++d) {
        if (devices.list[d].device == nullptr) continue;
        for (const auto& copy : devices.list[d].layout.superblock) {
            for (const uint64_t at : copy) {
                if (co_await devices.read(d, at, block.bytes()) != 0) continue;
                Result<Superblock> superblock = decode_superblock(block.bytes());
                if (!superblock.ok() || superblock->pool != pool) continue;
                found.push_back({*std::move(superblock), d});
            }
        }
    }
    co_return found;
}

// Every device the superblock knows, present and not older than it may be.
Result<void> match_devices(const Superblock& superblock, std::vector<PoolDevice>& devices,
                           const OpenOptions& options) {
    const Label known = devices.back().label;
    while (devices.size() < superblock.device_count) {
        devices.push_back({nullptr, known, DeviceLayout(known), false});
    }
    for (size_t d = 0; d < devices.size(); ++d) {
        PoolDevice& device = devices[d];
        if (device.device == nullptr) {
            if (d < superblock.device_count && !options.accept_missing_devices) {
                return Error(ErrorCode::invalid_argument,
                             fmt::format("device {} ({}) of pool '{}' is missing; give it, or open "
                                         "the pool without it",
                                         d, superblock.devices[d].uuid.to_string(), known.name));
            }
            continue;
        }
        if (d >= superblock.device_count || device.label.device != superblock.devices[d].uuid) {
            return Error(ErrorCode::invalid_argument,
                         fmt::format("device {} is foreign: pool '{}' does not know it",
                                     device.device->name(), known.name));
        }
        const uint64_t needed = device.layout.region_start(superblock.devices[d].physical_regions);
        if (device.device->size_bytes() / kBlockBytes < needed) {
            return too_short(*device.device, needed, "the pool needs it");
        }
    }
    return check_journal_is_here(superblock, devices);
}

// A fixed block in either copy, verified by the checksum its parent holds.
io::Task<Result<void>> read_fixed(Devices& devices, const Checksums& checksums,
                                  const std::array<std::pair<size_t, uint64_t>, 2>& copies,
                                  uint64_t place, uint32_t crc, MutableBytes into,
                                  const char* what) {
    for (const auto& [device, block] : copies) {
        if (co_await devices.read(device, block, into) != 0) continue;
        if (stored_crc(checksums.block(into, place, 0)) == crc) co_return Result<void>{};
    }
    co_return Error(ErrorCode::corrupt, fmt::format("{} cannot be read in any copy", what));
}

struct Tables {
    std::vector<CheckedSlot> tables;
    std::vector<RegionEntry> regions;
};

io::Task<Result<Tables>> load_tables(Devices& devices, const Checksums& checksums,
                                     const Superblock& superblock, const Label& label) {
    Tables loaded;
    loaded.tables.resize(label.table_blocks);
    if (superblock.region_count > label.regions_max) {
        co_return Error(ErrorCode::corrupt,
                        fmt::format("superblock counts {} regions, there can be {}",
                                    superblock.region_count, label.regions_max));
    }
    AlignedBuffer block(kBlockBytes);
    const auto copies_of = [&](auto position) {
        std::array<std::pair<size_t, uint64_t>, 2> copies;
        for (int copy = 0; copy < 2; ++copy) {
            const size_t device = superblock.placement[static_cast<size_t>(copy)];
            copies[static_cast<size_t>(copy)] = {device,
                                                 position(devices.list[device].layout, copy)};
        }
        return copies;
    };
    for (uint32_t i = 0; i < label.index_blocks; ++i) {
        const CheckedSlot slot = superblock.index[i];
        if (slot.crc == 0) continue;
        const auto copies = copies_of([&](const DeviceLayout& layout, int copy) {
            return layout.index_block(copy, slot.slot, i);
        });
        CO_TRY(co_await read_fixed(devices, checksums, copies, index_place(i), slot.crc,
                                   block.bytes(), "a region index block"));
        for (size_t n = 0; n < kTablesPerIndexBlock; ++n) {
            const size_t t = i * kTablesPerIndexBlock + n;
            if (t >= loaded.tables.size()) break;
            loaded.tables[t] = {
                load_le<uint32_t>(block.data() + n * 8),
                static_cast<uint8_t>(load_le<uint8_t>(block.data() + n * 8 + 4) & 1)};
        }
    }
    loaded.regions.resize(superblock.region_count);
    for (uint32_t t = 0; t * kRegionsPerTableBlock < loaded.regions.size(); ++t) {
        const CheckedSlot slot = loaded.tables[t];
        if (slot.crc == 0) continue;
        const auto copies = copies_of([&](const DeviceLayout& layout, int copy) {
            return layout.table_block(copy, slot.slot, t);
        });
        CO_TRY(co_await read_fixed(devices, checksums, copies, table_place(t), slot.crc,
                                   block.bytes(), "a region table block"));
        for (size_t n = 0; n < kRegionsPerTableBlock; ++n) {
            const size_t r = t * kRegionsPerTableBlock + n;
            if (r >= loaded.regions.size()) break;
            CO_TRY_ASSIGN(loaded.regions[r],
                          decode_region(block.data() + n * kRegionEntryBytes, r));
        }
    }
    co_return loaded;
}

// Each object is walked over once: paths end at what is known to lead to a root.
Result<void> check_no_rings(const Objects& objects) {
    std::unordered_map<ObjectId, ObjectId> walked_from;  // value: where the walk began
    for (const auto& [start, object] : objects.all()) {
        ObjectId at = start;
        while (at != 0 && !walked_from.contains(at)) {
            walked_from[at] = start;
            const Object* next = objects.find(at);
            at = next == nullptr ? 0 : next->record.parent;
        }
        if (at != 0 && walked_from[at] == start) {
            return Error(ErrorCode::corrupt,
                         fmt::format("the ancestors of object {} form a ring", start));
        }
    }
    return {};
}

// What the slot calls itself, for the operator.
std::string name_in_slot(const std::byte* slot) {
    const auto* text = reinterpret_cast<const char*>(slot + 128);
    const std::string name(text, strnlen(text, kNameBytesMax));
    const bool plain = std::ranges::all_of(name, [](char c) { return c > ' ' && c <= '~'; });
    return plain && !name.empty() ? fmt::format(" ('{}')", name) : "";
}

// The objects of one block of the object tree. Those that cannot be are put on `lost`; without it,
// one of them is an error.
Result<void> add_objects(Core& core, BlockIndex n, ConstBytes block,
                         std::vector<std::string>* lost) {
    for (size_t i = 0; i < kObjectsPerBlock; ++i) {
        const auto slot = static_cast<uint32_t>(n * kObjectsPerBlock + i);
        if (slot >= core.superblock.object_slots) break;
        const std::byte* from = block.data() + i * kObjectBytes;
        Result<ObjectRecord> record = decode_object(from);
        if (record.ok() && record->kind == ObjectKind::free) continue;
        if (record.ok() &&
            (core.objects.find(record->id) != nullptr || record->id >= core.next_object)) {
            record = Error(ErrorCode::corrupt,
                           fmt::format("object {} is there twice, or too new", record->id));
        }
        if (record.ok()) {
            core.objects.add_at(*std::move(record), slot);
            continue;
        }
        const Error why =
            record.error().with_context(fmt::format("object slot {}{}", slot, name_in_slot(from)));
        if (lost == nullptr) return why;
        lost->push_back(why.message());
    }
    return {};
}

Result<void> check_parents(Core& core, bool some_lost) {
    for (const ObjectId id : core.objects.ids()) {
        Object* object = core.objects.find(id);
        if (!object->record.is_tree()) continue;
        if (object->record.has(ObjectRecord::kDeleted) && object->record.cursor > 0) {
            core.reclaiming = id;
        }
        const ObjectId parent = object->record.parent;
        const Object* found = core.objects.find(parent);
        if (parent != 0 && (found == nullptr || !found->record.is_tree()) && !some_lost) {
            return Error(ErrorCode::corrupt,
                         fmt::format("object {} has parent {}, which does not exist", id, parent));
        }
    }
    return check_no_rings(core.objects);
}

io::Task<Result<void>> load_objects(Core& core, std::vector<std::string>* lost) {
    AlignedBuffer block(kBlockBytes);
    const uint32_t slots = core.superblock.object_slots;
    const uint64_t blocks = (uint64_t{slots} + kObjectsPerBlock - 1) / kObjectsPerBlock;
    for (BlockIndex n = 0; n < blocks;) {
        const Found found = find_leaf(core.cache, core.object_tree.record.root, n);
        if (found.missing.any()) {
            CO_TRY_ASSIGN(Node * loaded,
                          co_await core.cache.load(found.missing.entry, found.missing.level,
                                                   RegionClass::meta));
            static_cast<void>(loaded);
            continue;
        }
        const Entry entry = found.entry(n);
        if (entry.kind() == EntryKind::data) {
            const Result<void> read = co_await core.blocks.read(entry, block.bytes());
            if (read.ok()) {
                CO_TRY(add_objects(core, n, block.bytes(), lost));
            } else if (lost != nullptr && read.error().code() == ErrorCode::corrupt) {
                lost->push_back(fmt::format("object slots {} to {}: {}", n * kObjectsPerBlock,
                                            (n + 1) * kObjectsPerBlock - 1,
                                            read.error().message()));
            } else {
                co_return read;
            }
        }
        ++n;
    }
    core.objects.reserve_slots(slots);
    core.objects.link_children();
    co_return check_parents(core, lost != nullptr && !lost->empty());
}

// Some objects are lost. What they shared with others is not known, so that nothing may be freed
// any more: the pool can be read, whatever the caller accepts.
void lose_objects(Core& core, const std::vector<std::string>& lost) {
    core.objects_lost = true;
    core.options.read_only = true;
    core.read_only_reason = fmt::format(
        "damaged: {} of the object table cannot be used, first {}; "
        "copy the other volumes to another pool",
        lost.size(), lost.front());
    for (const std::string& text : lost) core.event("pool " + core.label.name + ": " + text);
}

// The newest superblock cannot be used, an older one can: never silently.
void fall_back(Core& core, const Error& why) {
    core.event(fmt::format("superblock generation {} of pool '{}' cannot be used, generation {} is",
                           core.newest_generation, core.label.name, core.superblock.generation));
    if (core.options.accept_damaged || core.options.read_only) return;
    core.options.read_only = true;
    core.read_only_reason = fmt::format(
        "damaged: superblock generation {} cannot be used ({}), and generation {} is older; open "
        "with the override to go on from there",
        core.newest_generation, why.message(), core.superblock.generation);
}

// Tables and objects as of the superblock.
io::Task<Result<void>> load_state(Core& core, bool accepts_lost_objects) {
    CO_TRY_ASSIGN(Tables tables,
                  co_await load_tables(core.devices, core.checksums, core.superblock, core.label));
    core.tables = std::move(tables.tables);
    const Superblock& s = core.superblock;
    core.regions.set_bad_blocks(
        {0, s.bad_blocks - s.bad_leaves - s.bad_doubled, s.bad_leaves, s.bad_doubled});
    CO_TRY(core.regions.load_table(std::move(tables.regions), core.superblock.devices));
    core.regions.on_assign([&core](uint32_t region, const RegionEntry& entry) {
        StructureRecord record;
        record.items.emplace_back();
        record.items.back().what = StructureItem::What::assign;
        record.items.back().region = region;
        record.items.back().entry = entry;
        std::vector<std::byte> encoded;
        encode_record(record, encoded);
        if (!MUTANT(39)) core.append(encoded);
    });
    core.blocks.set_writable(false);
    std::vector<std::string> lost;
    CO_TRY(co_await load_objects(core, accepts_lost_objects ? &lost : nullptr));
    if (!lost.empty()) lose_objects(core, lost);
    co_return Result<void>{};
}

}  // namespace

io::Task<Result<std::unique_ptr<Core>>> open_core(io::Executor& executor,
                                                  std::vector<io::Device*> devices,
                                                  OpenOptions options) {
    if (devices.empty()) {
        co_return Error(ErrorCode::invalid_argument, "no device was given");
    }
    CO_TRY_ASSIGN(std::vector<PoolDevice> gathered, co_await gather(devices));
    Label label;
    for (const PoolDevice& device : gathered) {
        if (device.device != nullptr) label = device.label;
    }
    if (label.read_only_compat != 0 && !options.read_only) {
        co_return Error(ErrorCode::unsupported,
                        fmt::format("pool '{}' uses features this program can only read "
                                    "(flags {:#x}); open it read-only",
                                    label.name, label.read_only_compat));
    }
    Devices probe(executor);
    probe.list = gathered;
    std::vector<Candidate> candidates = co_await read_superblocks(probe, label.pool);
    CO_TRY(settle_history(candidates, gathered));
    Error last(ErrorCode::corrupt,
               fmt::format("pool '{}' has no superblock that verifies", label.name));
    // Only if none of them is whole, one of which objects are lost.
    for (const bool accepts_lost_objects : {false, true}) {
        for (size_t i = 0; i < candidates.size(); ++i) {
            const Superblock& superblock = candidates[i].superblock;
            if (i > 0 && superblock.generation == candidates[i - 1].superblock.generation) continue;
            std::vector<PoolDevice> list = gathered;
            CO_TRY(match_devices(superblock, list, options));
            auto core =
                std::make_unique<Core>(executor, options, label, std::move(list), superblock);
            Result<void> loaded = co_await load_state(*core, accepts_lost_objects);
            if (!loaded.ok()) {
                last = loaded.error().with_context(
                    fmt::format("pool '{}', generation {}", label.name, superblock.generation));
                core->event(last.message());
                continue;
            }
            core->newest_generation = candidates.front().superblock.generation;
            for (const Candidate& beside : candidates) {
                if (beside.superblock.generation == superblock.generation) {
                    core->cut_short_owners.push_back(beside.superblock.owner);
                }
            }
            if (superblock.generation != core->newest_generation) fall_back(*core, last);
            CO_TRY(co_await recover(*core));
            if (core->writable()) CO_TRY(co_await resynchronize(*core));
            co_return core;
        }
        if (last.code() != ErrorCode::corrupt) break;
    }
    co_return last;
}

}  // namespace stoa::pool
