// Regions: logical address space in pieces, which blocks of it are in use, and who may take more.
//
// Rules (docs/format/pool.md, and the central invariant of the design):
// - a block is free, in flight (allocated, not yet in a map), live, or in quarantine;
// - a freed block stays in quarantine until the superblock of a checkpoint whose frozen state no
//   longer references it is durable and no read that could still want it runs;
// - the bitmaps on disk change only in checkpoints: the changes of one interval are kept as lists
//   (allocated, freed) and applied to the persisted bitmaps; memory holds bitmaps only of regions
//   that blocks are being taken from;
// - from a region with a place on a device that is no member (missing, or not resynchronized yet)
//   nothing is taken; if all its places are missing, what changes in its bitmap is kept as a
//   difference in a block elsewhere, until a checkpoint can write the bitmap again.
// Proven by: tests/sim (write-once oracle, fsck after every run).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "dataplane/io/sync.h"
#include "dataplane/io/task.h"
#include "dataplane/pool/devices.h"
#include "dataplane/pool/format.h"

namespace stoa::pool {

class BlockIo;

struct Run {
    BlockAddress address = 0;
    uint64_t count = 0;
};

// Where a block lies on a device.
struct Location {
    size_t device = 0;
    uint64_t block = 0;  // from the start of the device
};

// A contiguous reservation of one volume; counts as free until taken.
struct Stream {
    Run run;
};

using BlocksByClass = std::array<uint64_t, kRegionClasses>;

// What one checkpoint freezes, and what becomes durable with its superblock.
struct FrozenSpace {
    std::vector<Run> allocated;  // cut and grouped by region from write_bitmaps() on
    std::vector<Run> freed;      // likewise
    struct Update {
        uint32_t region;
        uint8_t slot;
        uint32_t crc;
        uint32_t free_blocks;
        bool retire = false;  // nothing lives in it: becomes unused
        Entry delta{};        // as in the table
        bool bitmap_unwritten = false;
    };
    std::vector<Update> updates;
    BlocksByClass bad_blocks{};   // among what is allocated for ever
    std::vector<uint32_t> fresh;  // regions whose bitmap must be written, changed or not
};

// Told when a region of class data is assigned: the journal must know before it names its blocks.
using AssignSink = std::function<void(uint32_t region, const RegionEntry& entry)>;

class Regions {
public:
    Regions(io::Executor& executor, Devices& devices, const Checksums& checksums,
            uint32_t region_blocks, uint32_t regions_max, uint64_t reserve_blocks);
    Regions(const Regions&) = delete;
    Regions& operator=(const Regions&) = delete;

    // ---- opening
    // Takes over the table; errors: corrupt (a place used twice or outside its device).
    Result<void> load_table(std::vector<RegionEntry> table,
                            std::span<const DeviceSlot> device_slots);
    void add_device_space(size_t device, uint32_t from_region, uint32_t to_region);

    // ---- addresses
    [[nodiscard]] uint32_t region_of(BlockAddress address) const {
        return static_cast<uint32_t>(address >> shift_);
    }
    // True if `address` may hold content of `wanted` (in-use region of that class, not a bitmap).
    [[nodiscard]] bool is_plausible(BlockAddress address, RegionClass wanted) const;
    [[nodiscard]] size_t places_of(BlockAddress address) const {
        return regions_[region_of(address)].entry.places;
    }
    [[nodiscard]] Location locate(BlockAddress address, size_t place) const;
    // True if all its places are on missing devices.
    [[nodiscard]] bool is_away(BlockAddress address) const;

    // ---- taking blocks
    // Up to `want` contiguous blocks from what is loaded; count 0: refill() and try again.
    Run try_allocate(RegionClass wanted, uint64_t want);
    // The same through a volume's stream.
    Run try_allocate(Stream& stream, uint64_t want);
    void give_back(Stream& stream);
    // Makes at least one block of the class allocatable. Errors: no_space, io, corrupt.
    io::Task<Result<void>> refill(RegionClass wanted);
    // One node block; refills as needed.
    io::Task<Result<BlockAddress>> allocate_node(RegionClass wanted);

    // In flight becomes live with the next checkpoint's bitmaps; with `frozen`, with those of the
    // checkpoint that runs (its own nodes).
    void commit_allocated(Run run, FrozenSpace* frozen = nullptr);
    // In flight becomes free again at once: nobody ever referred to it.
    void cancel_allocated(Run run);
    // In flight becomes live for ever: it could not be written. `frozen` as above.
    void set_bad(BlockAddress address, FrozenSpace* frozen = nullptr);
    // In flight, and its write ended with `error`: set aside if the place is bad, else as if it was
    // used and freed.
    void give_up(BlockAddress address, int error, FrozenSpace* frozen);
    // Live becomes quarantined; with `frozen`, as part of the checkpoint that runs.
    void free(Run run, FrozenSpace* frozen = nullptr);

    // ---- checkpoints
    FrozenSpace freeze();
    // Writes the bitmaps of the frozen state to their other slots, or what changes in those on
    // missing devices to new blocks with the birth `birth`.
    io::Task<Result<void>> write_bitmaps(FrozenSpace& frozen, BlockIo& blocks, Epoch birth);
    // The table entry of `region` as of the frozen state.
    [[nodiscard]] std::vector<RegionEntry> table_with(const FrozenSpace& frozen) const;
    // The superblock is durable: new slots count.
    // `frozen` stays where it is until release().
    void make_durable(const FrozenSpace& frozen);
    // No read from before the freeze runs any more: the quarantine ends.
    void release(FrozenSpace& frozen);

    // Bad copies of a region's bitmap are written again from a good one; how many. While no
    // checkpoint runs.
    io::Task<uint64_t> mend_bitmap(uint32_t region);

    // ---- recovery
    // Applies what the journal did since the superblock. Errors: corrupt (block taken twice or
    // freed twice: named).
    io::Task<Result<void>> replay(std::vector<Run> allocated, std::vector<Run> freed);
    // A region that the journal says was assigned. Errors: corrupt.
    Result<void> replay_assign(uint32_t region, const RegionEntry& entry);
    // Takes back a replayed assignment from which nothing was allocated.
    void unassign(uint32_t region);
    void on_assign(AssignSink sink) { on_assign_ = std::move(sink); }
    // Was `address` freed by the journal that was replayed?
    [[nodiscard]] bool freed_by_replay(BlockAddress address) const;
    void forget_replay();

    // ---- devices that return
    // The next checkpoint brings the bitmaps on `device` up to date.
    void renew_bitmaps_of(size_t device);
    // Regions both copies of which are on one device: they were assigned when it was alone.
    [[nodiscard]] std::vector<uint32_t> doubled_on_one_device() const;
    // A free place on another device that is a member or joins with the next superblock.
    std::optional<PhysicalPlace> take_place_elsewhere(uint32_t region);
    // The second copy of `region` is at `to` from the next checkpoint on.
    void move_second_copy(uint32_t region, PhysicalPlace to);
    // After that checkpoint, with nobody else about: blocks may be taken again from the regions
    // all of whose devices are members now.
    void take_back_devices();
    // How differences of bitmaps are read; before anything is loaded.
    void set_blocks(BlockIo& blocks) { blocks_ = &blocks; }

    // ---- figures, in blocks
    struct Figures {
        uint64_t total = 0, system = 0, data = 0, nodes = 0, quarantine = 0, bad = 0, free = 0;
        uint64_t away = 0;  // free, on devices that are no members
    };
    [[nodiscard]] Figures figures() const;
    [[nodiscard]] uint64_t free_data() const { return free_[1] + reserved_; }
    [[nodiscard]] uint64_t quarantine() const;
    // Memory of what the next checkpoint will put into the bitmaps.
    [[nodiscard]] size_t pending_bytes() const {
        return (allocated_.size() + freed_.size()) * sizeof(Run);
    }
    // How many blocks of data writers may still take, the reserve left alone.
    [[nodiscard]] uint64_t data_available() const;
    // Blocks that nodes could take, in physical blocks, with every unassigned region.
    [[nodiscard]] uint64_t metadata_headroom() const;
    // Room for `count` more nodes, leaves and interior ones each by themselves.
    [[nodiscard]] bool nodes_available(uint64_t count) const;
    [[nodiscard]] uint64_t reserve_blocks() const { return reserve_blocks_; }
    [[nodiscard]] uint32_t region_blocks() const { return region_blocks_; }
    [[nodiscard]] uint32_t region_count() const { return static_cast<uint32_t>(regions_.size()); }
    void set_bad_blocks(const BlocksByClass& counts) { bad_blocks_ = counts; }
    [[nodiscard]] const RegionEntry& entry(uint32_t region) const { return regions_[region].entry; }
    [[nodiscard]] size_t unassigned_regions() const;

private:
    static constexpr uint64_t kMetaKept = 60;  // of a checkpoint or two in the smallest pools

    struct Maps {
        std::vector<uint64_t> live;  // as persisted
        std::vector<uint64_t> busy;  // live, in flight, changed since: not to be taken
        uint32_t free_count = 0;  // zero bits of busy
        uint32_t cursor = 0;
    };
    struct Region {
        RegionEntry entry;
        std::unique_ptr<Maps> maps;
        uint32_t in_flight = 0;
        uint64_t changed_interval = 0;  // last interval that allocated here
        bool persisted = false;  // a bitmap was written
        bool retiring = false;
        bool damaged = false;  // bitmap unreadable: nothing is taken from it
        bool away = false;  // has a place that is no member's: nothing is taken from it
        bool renew = false;  // its bitmap must be written at the next checkpoint
    };

    [[nodiscard]] Result<void> check_replayed(const Run& run, bool allocated) const;
    // Nothing more is taken from it.
    void mark_damaged(Region& region);
    [[nodiscard]] Maps fresh_maps() const;
    [[nodiscard]] Result<uint32_t> assign(RegionClass wanted);
    [[nodiscard]] bool may_assign(RegionClass wanted) const;
    io::Task<Result<void>> load_maps(uint32_t region);
    io::Task<Result<std::vector<uint64_t>>> read_live(uint32_t region);
    io::Task<Result<std::vector<uint64_t>>> read_delta(uint32_t region);
    io::Task<Result<std::vector<uint64_t>>> read_written(uint32_t region);
    // All places of the region are on missing devices.
    [[nodiscard]] bool is_out_of_reach(const RegionEntry& entry) const;
    [[nodiscard]] bool has_stranger(const RegionEntry& entry) const;
    [[nodiscard]] uint64_t& free_of(const Region& region) {
        const auto c = static_cast<size_t>(region.entry.region_class);
        return region.away ? free_away_[c] : free_[c];
    }
    io::Task<Result<void>> write_deltas(FrozenSpace& frozen, BlockIo& blocks, Epoch birth);
    io::Task<Result<void>> write_delta(uint32_t region, FrozenSpace& frozen, BlockIo& blocks,
                                       Epoch birth);
    io::Task<void> write_bitmap_copy(size_t device, uint64_t block, ConstBytes from, int& error);
    io::Task<Result<void>> update_bitmap(uint32_t region, std::span<const Run> allocated,
                                         std::span<const Run> freed, FrozenSpace& frozen);
    io::Task<void> update_bitmap_into(uint32_t region, std::span<const Run> allocated,
                                      std::span<const Run> freed, FrozenSpace& frozen,
                                      io::Semaphore& slots, Result<void>& outcome);
    void drop_idle_maps();
    Result<void> replay_out_of_reach(Run run);
    void note_replayed(Run run);
    void take_from_free(RegionClass region_class, uint64_t count);
    [[nodiscard]] size_t class_index(BlockAddress address) const {
        return static_cast<size_t>(regions_[region_of(address)].entry.region_class);
    }

    io::Executor& executor_;
    Devices& devices_;
    const Checksums& checksums_;
    AssignSink on_assign_;
    const FrozenSpace* unreleased_ = nullptr;  // durable, but reads may still want its frees
    uint32_t region_blocks_;
    unsigned shift_;
    uint32_t regions_max_;
    uint64_t reserve_blocks_;
    std::vector<Region> regions_;
    std::vector<uint32_t> unused_;  // logical regions to be used again
    std::vector<std::vector<uint32_t>> free_physical_;  // by device, ascending use from the back
    std::array<uint32_t, kRegionClasses> open_{};  // region blocks are taken from
    std::array<bool, kRegionClasses> has_open_{};
    BlocksByClass free_{};  // allocatable blocks by class
    BlocksByClass free_away_{};  // free blocks of regions that are away
    std::vector<uint32_t> physical_count_;  // by device
    std::vector<PhysicalPlace> vacated_;  // free after the next checkpoint
    BlockIo* blocks_ = nullptr;
    BlocksByClass used_{};  // all others but the bitmaps'
    BlocksByClass quarantined_{};
    uint64_t reserved_ = 0;  // in streams
    BlocksByClass bad_blocks_{};
    uint64_t interval_ = 1;
    uint64_t durable_interval_ = 0;
    std::vector<Run> allocated_;
    std::vector<Run> freed_;
    std::vector<Run> replayed_frees_;  // sorted
};

// Waits of reads: a quarantine ends only when the reads that began before its freeze have ended.
class ReaderEras {
public:
    uint64_t enter() {
        ++counts_[current_ % kWindow];
        return current_;
    }
    void leave(uint64_t era) { --counts_[era % kWindow]; }
    // Starts a new era; readers of `current` and before are the old ones.
    uint64_t advance() { return current_++; }
    // No reader of an era <= `era` runs.
    [[nodiscard]] bool drained(uint64_t era) const {
        const uint64_t oldest = current_ >= kWindow ? current_ - kWindow + 1 : 0;
        for (uint64_t e = oldest; e <= era; ++e) {
            if (counts_[e % kWindow] != 0) return false;
        }
        return true;
    }
    // A new era may begin only while its slot is empty.
    [[nodiscard]] bool can_advance() const { return counts_[(current_ + 1) % kWindow] == 0; }

private:
    static constexpr uint64_t kWindow = 64;
    std::array<uint64_t, kWindow> counts_{};
    uint64_t current_ = 0;
};

}  // namespace stoa::pool
