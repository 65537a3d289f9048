// The logical regions in use: their bitmaps, and who refers to each of their blocks.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "dataplane/pool/fsck/view.h"

namespace stoa::fsck {

// What a reference to a block turned out to be.
enum class Claim : uint8_t { first, again, conflict };

class Regions {
public:
    // Reads tables and bitmaps of `view.superblock`. `view` and `findings` outlive this.
    Regions(const View& view, Findings& findings);

    // Why nothing may refer to `address` as content of `region_class`; nothing if it may.
    [[nodiscard]] std::optional<Reason> address_fault(uint64_t address, uint8_t region_class) const;

    // The calls below take addresses without address_fault only.

    // Records a reference with the identity `fingerprint` (not 0).
    Claim claim(uint64_t address, uint64_t fingerprint);
    [[nodiscard]] bool claimed(uint64_t address) const;
    [[nodiscard]] bool allocated(uint64_t address) const;

    // Which trees (bits) hold a block; kept only where add_holders is called.
    void add_holders(uint64_t address, uint64_t trees);
    // Calls visit(address, trees) for each block with holders.
    template <class Visit>
    void each_holders(Visit visit) const {
        for (const auto& region : regions_) {
            if (region.holders.empty()) continue;
            for (uint64_t i = 0; i < region.holders.size(); ++i) {
                if (region.holders[i] != 0) visit(region.number * blocks_ + i, region.holders[i]);
            }
        }
    }

    // Content with the checksum of `entry` in one of the block's places; nothing if none verifies.
    // Bad copies are reported as repairable if `what` is given.
    [[nodiscard]] std::optional<Block> read(const Entry& entry, const char* what);

    // Compares bitmaps with references. `complete`: every tree could be read.
    void report_leaks(bool complete);

    // ---- replay of the journal, after report_leaks.
    // A region that comes into use with nothing allocated.
    std::optional<Reason> assign(uint64_t number, const RegionEntry& entry);
    // Why the block cannot be allocated or freed; nothing if it was.
    std::optional<Reason> allocate(uint64_t address);
    // A record after the superblock refers to it once more.
    [[nodiscard]] std::optional<Reason> share(uint64_t address) const;
    std::optional<Reason> release(uint64_t address);

private:
    struct Region {
        uint64_t number = 0;
        RegionEntry entry;
        bool bitmap_known = false;
        std::vector<uint8_t> bits;
        std::vector<uint64_t> fingerprints;  // empty or one per block
        std::vector<uint64_t> holders;  // likewise
        std::vector<bool> touched;  // likewise: allocated or freed by the journal
    };

    void load_table(uint64_t t, const IndexSlot& slot);
    std::optional<Reason> take_places(const RegionEntry& entry);
    void load_bitmap(Region& region);
    bool add_difference(const Region& region, Block& bitmap);
    void claim_difference(const Region& region);
    [[nodiscard]] std::optional<Block> read_bitmap(const Region& region);
    void check_bitmap(const Region& region, const Block& bitmap);
    [[nodiscard]] Region* find(uint64_t address);
    [[nodiscard]] const Region* find(uint64_t address) const;
    [[nodiscard]] bool is_bitmap_block(uint64_t offset) const;

    const View& view_;
    Findings& findings_;
    uint64_t blocks_;  // of a region
    std::vector<Region> regions_;
    std::vector<uint32_t> by_number_;  // index in regions_ + 1
    std::array<std::vector<bool>, kDevicesMax> physical_used_;
};

}  // namespace stoa::fsck
