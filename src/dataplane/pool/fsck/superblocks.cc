// Which superblock counts, and what it must not say.
#include <algorithm>

#include "dataplane/pool/fsck/view.h"

namespace stoa::fsck {

namespace {

// One block of the tables from its two copies.
std::optional<Block> read_copies(const View& view, const Superblock& superblock,
                                 const std::array<uint64_t, 2>& positions, uint64_t seed,
                                 uint32_t crc, std::string_view what, Findings* findings) {
    std::optional<Block> good;
    std::array<bool, 2> verifies{};
    for (size_t copy = 0; copy < 2; ++copy) {
        Block block;
        if (!view.read(superblock.placement[copy], positions[copy], block)) continue;
        if (nonzero_crc(block_crc(view.pool, block, seed, 0)) != crc) continue;
        verifies[copy] = true;
        good = block;
    }
    if (findings == nullptr) return good;
    if (!good) {
        findings->problem("{}: neither copy can be read and verified", what);
        return good;
    }
    for (size_t copy = 0; copy < 2; ++copy) {
        if (verifies[copy]) continue;
        findings->repairable("{}: copy {} on device {} is bad, the other one is good", what, copy,
                             view.device_name(superblock.placement[copy]));
    }
    return good;
}

// The root node of the object tree, in any of its places.
bool root_node_verifies(const View& view, const Superblock& superblock) {
    const Entry& root = superblock.objects;
    if (root == Entry{}) return true;
    if (root.kind() != Kind::node) return false;
    const uint64_t region = root.address() / view.geometry.region_blocks;
    if (region >= superblock.region_count) return false;
    const auto index = read_index(view, superblock, region / 64 / 512, nullptr);
    if (!index) return false;
    const uint64_t t = region / 64;
    const auto table = read_table(view, superblock, table_slot(*index, t), t, nullptr);
    if (!table) return false;
    const RegionEntry entry = load_region_entry(table->data() + 64 * (region % 64));
    if (entry.state != 1) return false;
    for (size_t i = 0; i < std::min<size_t>(entry.places, 3); ++i) {
        const auto position =
            view.position(entry.place[i], root.address() % view.geometry.region_blocks);
        Block block;
        if (!position || !view.read(entry.place[i].device, *position, block)) continue;
        if (block_crc(view.pool, block, root.address(), root.birth()) == root.crc()) return true;
    }
    return false;
}

bool root_verifies(const View& view, const Superblock& superblock) {
    for (uint64_t i = 0; i < view.geometry.index_blocks; ++i) {
        if (!read_index(view, superblock, i, nullptr)) return false;
    }
    return root_node_verifies(view, superblock);
}

// Every present device has both copies of the chosen superblock.
void check_copies(const View& view, const SuperblockFound& chosen, Findings& findings) {
    for (const auto& device : view.devices) {
        if (!device || device->is_old) continue;
        for (int copy = 0; copy < 2; ++copy) {
            Block block;
            const uint64_t slot = chosen.superblock.generation % 2;
            const bool same =
                device->source->read(view.geometry.superblock(copy, slot) * kBlockBytes, block) &&
                block == chosen.block;
            if (same) continue;
            findings.repairable("device {}: superblock slot {} copy {} is not generation {}",
                                device->source->name(), slot, copy, chosen.superblock.generation);
        }
    }
}

void check_devices(const View& view, Findings& findings) {
    const Superblock& superblock = view.superblock;
    size_t present = 0;
    for (size_t i = 0; i < kDevicesMax; ++i) {
        const DeviceSlot& slot = superblock.devices[i];
        const auto& device = view.devices[i];
        if (slot.state > 2) findings.problem("superblock: device {} has state {}", i, slot.state);
        if (slot.state != 0) ++present;
        if (slot.state == 0) {
            if (device) {
                findings.problem(
                    "device {}: says that it is device {}, which the pool does not "
                    "have",
                    device->source->name(), i);
            }
            continue;
        }
        if (!device && view.too_short[i]) continue;  // told already
        if (!device) {
            findings.problem("device {} ({}) of the pool is missing", i, slot.uuid.to_string());
            continue;
        }
        if (device->label.device != slot.uuid) {
            findings.problem("device {}: its uuid is {}, device {} of the pool has {}",
                             device->source->name(), device->label.device.to_string(), i,
                             slot.uuid.to_string());
        }
        if (slot.state == 2) {
            findings.problem(
                "device {}: the pool has marked it missing; its content is old until the pool is "
                "opened with it",
                device->source->name());
        }
        const uint64_t needed = device->label.data_start +
                                uint64_t{slot.physical_regions} * view.geometry.region_blocks;
        if (needed > device->size_blocks) {
            const uint64_t size_bytes = device->source->size_bytes();
            findings.problem(
                "device {}: is {} bytes shorter than its {} regions need: it has {} bytes, {} are "
                "needed; grow it back to that size (what was cut off and is not there again is "
                "lost), or restore it from a backup",
                device->source->name(), needed * kBlockBytes - size_bytes, slot.physical_regions,
                size_bytes, needed * kBlockBytes);
        }
    }
    if (present != superblock.device_count) {
        findings.problem("superblock: device_count is {}, {} devices are listed",
                         superblock.device_count, present);
    }
    for (const uint16_t place : superblock.placement) {
        if (superblock.devices[place].state == 0) {
            findings.problem("superblock: placement names device {}, which the pool does not have",
                             place);
        }
    }
}

void check_branches(const Superblock& superblock, Findings& findings) {
    bool ended = superblock.branch == 0;
    for (const uint64_t before : superblock.branches_before) {
        if (before != 0 && (ended || before == superblock.branch)) {
            findings.problem("superblock: its branches before {:x} are out of order",
                             superblock.branch);
            return;
        }
        ended = ended || before == 0;
    }
}

void check_cuts(const Superblock& superblock, Findings& findings) {
    const std::vector<Cut>& cuts = superblock.cuts;
    for (size_t i = 1; i < cuts.size(); ++i) {
        if (cuts[i].journal_block < cuts[i - 1].journal_block ||
            cuts[i].incarnation <= cuts[i - 1].incarnation) {
            findings.problem(
                "superblock: cut {} (block {}, incarnation {}) is not after the one "
                "before it",
                i, cuts[i].journal_block, cuts[i].incarnation);
        }
    }
    if (cuts.front().journal_block > superblock.journal_start) {
        findings.problem("superblock: no cut covers journal block {}", superblock.journal_start);
    }
    if (cuts.back().incarnation > superblock.incarnation) {
        findings.problem("superblock: a cut is of incarnation {}, the pool of {}",
                         cuts.back().incarnation, superblock.incarnation);
    }
}

}  // namespace

std::optional<Block> read_index(const View& view, const Superblock& superblock, uint64_t i,
                                Findings* findings) {
    const IndexSlot& slot = superblock.index[i];
    if (slot.crc == 0) return Block{};
    if (slot.slot > 1) {
        if (findings != nullptr) findings->problem("index block {}: slot is {}", i, slot.slot);
        return std::nullopt;
    }
    return read_copies(
        view, superblock,
        {view.geometry.index_block(0, slot.slot, i), view.geometry.index_block(1, slot.slot, i)},
        kIndexSeed + i, slot.crc, fmt::format("index block {}", i), findings);
}

IndexSlot table_slot(const Block& index_block, uint64_t t) {
    const std::byte* from = index_block.data() + 8 * (t % 512);
    return {load_le<uint32_t>(from), std::to_integer<uint8_t>(from[4])};
}

std::optional<Block> read_table(const View& view, const Superblock& superblock,
                                const IndexSlot& slot, uint64_t t, Findings* findings) {
    if (slot.crc == 0) return Block{};
    if (slot.slot > 1) {
        if (findings != nullptr) findings->problem("table block {}: slot is {}", t, slot.slot);
        return std::nullopt;
    }
    return read_copies(
        view, superblock,
        {view.geometry.table_block(0, slot.slot, t), view.geometry.table_block(1, slot.slot, t)},
        kTableSeed + t, slot.crc, fmt::format("table block {}", t), findings);
}

bool choose_superblock(View& view, Findings& findings) {
    for (const SuperblockFound& found : view.superblocks) {
        if (!root_verifies(view, found.superblock)) {
            findings.problem("superblock generation {}: its root does not verify",
                             found.superblock.generation);
            continue;
        }
        view.superblock = found.superblock;
        check_copies(view, found, findings);
        return true;
    }
    findings.problem("no superblock is usable");
    return false;
}

void check_superblock(const View& view, Findings& findings) {
    const Superblock& superblock = view.superblock;
    check_devices(view, findings);
    check_cuts(superblock, findings);
    check_branches(superblock, findings);
    if ((superblock.flags & ~uint64_t{1}) != 0) {
        findings.problem("superblock: flags are 0x{:x}", superblock.flags);
    }
    if (superblock.epoch >> 48 != 0) {
        findings.problem("superblock: epoch {} has more than 48 bits", superblock.epoch);
    }
    if (superblock.acknowledged_incarnation > superblock.incarnation) {
        findings.problem("superblock: acknowledged_incarnation is {}, incarnation {}",
                         superblock.acknowledged_incarnation, superblock.incarnation);
    }
    if (superblock.objects != Entry{}) {
        if (superblock.objects.kind() != Kind::node) {
            findings.problem("superblock: the root of the object tree is not a NODE");
        }
    } else if (superblock.object_slots != 0) {
        findings.problem("superblock: {} object slots, but no object tree",
                         superblock.object_slots);
    }
    if (uint64_t{superblock.object_slots} > kTreeBlocks * kObjectsPerBlock) {
        findings.problem("superblock: object_slots is {}", superblock.object_slots);
    }
}

}  // namespace stoa::fsck
