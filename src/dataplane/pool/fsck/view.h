// The pool as its labels and superblocks present it: which devices belong to it, where things lie,
// which superblock counts. Everything else is read through it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "dataplane/pool/fsck/findings.h"
#include "dataplane/pool/fsck/layout.h"

namespace stoa::fsck {

struct Device {
    Source* source = nullptr;
    uint64_t size_blocks = 0;
    Label label;
    // The pool was used without it, or it is an older copy: its superblocks and journal do not
    // count.
    bool is_old = false;
};

// One superblock as found; the copies of one generation are the same block.
struct SuperblockFound {
    Superblock superblock;
    Block block;
    size_t device = 0;  // one that has it
};

struct View {
    Uuid pool;
    std::string name;
    Geometry geometry;
    std::array<std::optional<Device>, kDevicesMax> devices;  // by index in the pool
    // Given, but it ends before its regions begin: nothing is read from it.
    std::array<bool, kDevicesMax> too_short{};
    std::vector<SuperblockFound> superblocks;  // newest first, each once
    Superblock superblock;  // the one that counts

    // False if there is no such device, it ends before, or cannot be read.
    [[nodiscard]] bool read(uint64_t device, uint64_t position, Block& into) const;
    // False if the device is missing, or was when the pool was used, or is an older copy.
    [[nodiscard]] bool journal_counts(uint64_t device) const {
        return device < kDevicesMax && devices[device] && !devices[device]->is_old;
    }
    // Name of device `index` for messages.
    [[nodiscard]] std::string device_name(uint64_t index) const;
    // The address of a block in region `region`, which lies at `place`; nothing if outside.
    [[nodiscard]] std::optional<uint64_t> position(const RegionEntry::Place& place,
                                                   uint64_t offset) const;
};

// Labels and superblocks of all devices; nothing if there is no pool on them. Fills all of the
// view but `superblock`.
[[nodiscard]] std::optional<View> load_view(std::span<Source* const> sources, Findings& findings);

// Index and table blocks of `superblock`, either copy; nothing if no copy verifies. A block that
// was never written is zeros.
[[nodiscard]] std::optional<Block> read_index(const View& view, const Superblock& superblock,
                                              uint64_t i, Findings* findings);
[[nodiscard]] std::optional<Block> read_table(const View& view, const Superblock& superblock,
                                              const IndexSlot& slot, uint64_t t,
                                              Findings* findings);
[[nodiscard]] IndexSlot table_slot(const Block& index_block, uint64_t t);

// Takes the newest superblock whose root verifies as `view.superblock`; false if none does.
bool choose_superblock(View& view, Findings& findings);

// The fields of the superblock that need nothing but the labels.
void check_superblock(const View& view, Findings& findings);

}  // namespace stoa::fsck
