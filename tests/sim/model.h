// The reference model: what volumes and snapshots must hold, and which pasts a crash may bring
// back.
//
// The content of a sector (512 bytes) is named by a tag, from which its bytes are made; so a read
// tells which write each sector comes from, or that it is foreign. The model keeps, per block, the
// updates since the last moment at which everything was durable, each with the instants of its
// submission and acknowledgement on the model's own clock. An update took effect at an unknown
// instant between the two. A cut at instant T contains exactly the updates that took effect at or
// before T. After a crash all volumes must show one common T, not before the last completed flush;
// a snapshot shows one T between its own submission and acknowledgement; a read likewise, for each
// block by itself. For operations one after the other this is exact; concurrent ones are unordered.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/uuid.h"
#include "tests/sim/verdict.h"

namespace stoa::simtest {

inline constexpr uint64_t kBlockBytes = 4096;
inline constexpr uint64_t kSectorBytes = 512;
inline constexpr size_t kSectorsPerBlock = 8;

using Tag = uint64_t;  // of the content of one sector
inline constexpr Tag kZeroTag = 0;
inline constexpr Tag kForeignTag = ~Tag{0};  // no write made these bytes
inline constexpr Tag kUnreadableTag = ~Tag{1};  // reading failed, and was allowed to
using BlockTags = std::array<Tag, kSectorsPerBlock>;

// The tag of sector `sector` (within its volume) as operation `operation` writes it.
[[nodiscard]] constexpr Tag make_tag(uint64_t operation, uint64_t sector) {
    return operation << 20 | (sector & 0xFFFFF);
}
[[nodiscard]] std::string tag_text(Tag tag);
void fill_sector(Tag tag, std::byte* sector);
[[nodiscard]] Tag read_tag(const std::byte* sector);

// The model's clock: grows by one at each submission and acknowledgement.
using Instant = uint64_t;
inline constexpr Instant kNever = std::numeric_limits<Instant>::max();

struct Window {
    Instant first = 0;
    Instant last = 0;  // included
    [[nodiscard]] bool empty() const { return first > last; }
};

// One change of one block.
struct Update {
    uint64_t operation = 0;
    Instant submitted = 0;
    Instant acknowledged = kNever;
    uint64_t rank = 0;  // of two updates, one with a higher rank took effect later
    uint8_t mask = 0;  // sectors it changes
    BlockTags tags{};
};

struct BlockHistory {
    BlockTags base{};
    bool unknown = false;  // lost by a fault: anything may be read until it is overwritten whole
    std::vector<Update> updates;

    // The value after all updates, in the order in which the model knows them.
    [[nodiscard]] BlockTags current() const;
    // The instants within `window` at which its first `sectors` sectors may have read `seen`, as
    // disjoint ascending windows; empty: never.
    [[nodiscard]] std::vector<Window> instants(const BlockTags& seen, size_t sectors,
                                               Window window) const;

private:
    [[nodiscard]] bool is_torn(const BlockTags& seen, size_t sectors) const;
};

struct Tree {
    Uuid uuid;
    std::string name;
    uint64_t size_bytes = 0;
    bool is_snapshot = false;
    bool is_protected = false;
    Uuid volume;  // snapshots: whose; nil when it was deleted
    Uuid parent;  // volumes: the snapshot they were cloned from or rolled back to, nil if none
    Uuid family;  // equal for all trees that come from one volume
    bool has_origin = false;
    std::vector<BlockHistory> blocks;
    // A snapshot taken beside running writes whose content has not been read yet.
    bool is_open = false;
    Window taken;

    [[nodiscard]] uint64_t block_count() const {
        return (size_bytes + kBlockBytes - 1) / kBlockBytes;
    }
    // Sectors of `block` that lie within the tree.
    [[nodiscard]] size_t sectors_in(uint64_t block) const;
    // To another size: what is new reads zero.
    void resize(uint64_t bytes);
};

// What a pool shows: its objects and the tags of their sectors.
struct SeenTree {
    std::string name;
    uint64_t size_bytes = 0;
    bool is_snapshot = false;
    bool is_protected = false;
    Uuid volume;
    std::vector<BlockTags> blocks;
};
using Seen = std::map<Uuid, SeenTree>;

class Model {
public:
    // ---- the clock
    Instant tick() { return ++now_; }
    [[nodiscard]] Instant now() const { return now_; }
    uint64_t next_operation() { return ++operations_; }
    // From now on updates have a higher rank than all before.
    void next_rank() { rank_ += 2; }
    [[nodiscard]] uint64_t rank() const { return rank_; }

    // ---- trees
    [[nodiscard]] std::map<Uuid, Tree>& trees() { return trees_; }
    [[nodiscard]] const std::map<Uuid, Tree>& trees() const { return trees_; }
    [[nodiscard]] Tree* find(const Uuid& uuid);
    [[nodiscard]] const Tree* find(const Uuid& uuid) const;
    [[nodiscard]] std::vector<Uuid> volumes() const;
    [[nodiscard]] std::vector<Uuid> snapshots() const;
    [[nodiscard]] std::vector<Uuid> snapshots_of(const Uuid& volume) const;

    // ---- changes of content. begin() notes the submission of an update of `sectors` sectors from
    // `first_sector` on; `zero`: they become zero, else they get the operation's tags.
    void begin(const Uuid& volume, uint64_t operation, uint64_t first_sector, uint64_t sectors,
               bool zero);
    // The operation was acknowledged now.
    void acknowledge(const Uuid& volume, uint64_t operation);

    // ---- changes of objects, when nothing else runs
    void add_volume(const Uuid& uuid, std::string name, uint64_t size_bytes);
    void add_snapshot(const Uuid& uuid, const Uuid& volume, std::string name);
    void add_clone(const Uuid& uuid, const Uuid& snapshot, std::string name, uint64_t size_bytes);
    void roll_back(const Uuid& volume, const Uuid& snapshot);
    void remove(const Uuid& uuid);  // a volume takes its snapshots with it
    // A snapshot taken between the two instants, beside writes; resolved by check().
    void add_open_snapshot(const Uuid& uuid, const Uuid& volume, std::string name, Window taken);

    // ---- durability
    // What was acknowledged at or before `instant` survives from now on.
    void durable_since(Instant instant) { durable_ = std::max(durable_, instant); }
    [[nodiscard]] Instant durable() const { return durable_; }
    // Nothing is in flight and everything is durable: the histories start again.
    void collapse();

    // ---- judgement
    // May `seen` be the pool's state at one instant of `window`? Otherwise fails the verdict with
    // `oracle`. Then, or with `adopt` false nothing changes; else the model takes over what is
    // seen: as the present (`durable` false), or as all there is and durable.
    bool check(const Seen& seen, Window window, bool adopt, bool durable, const char* oracle,
               Verdict& verdict);
    // A read of `tree` from `first_sector` on while the window lasted.
    void check_read(const Uuid& tree, uint64_t first_sector, const std::vector<Tag>& tags,
                    Window window, Verdict& verdict) const;
    // Sectors that differ between two trees, one bit a block.
    [[nodiscard]] std::vector<bool> difference(const Uuid& from, const Uuid& to) const;

private:
    bool check_objects(const Seen& seen, Verdict& verdict) const;
    bool check_group(const Seen& seen, const std::vector<Uuid>& trees, Window window,
                     const char* oracle, Verdict& verdict) const;
    void take_over(const Seen& seen, bool durable);

    std::map<Uuid, Tree> trees_;
    Instant now_ = 0;
    Instant durable_ = 0;
    uint64_t operations_ = 0;
    uint64_t rank_ = 2;
};

}  // namespace stoa::simtest
