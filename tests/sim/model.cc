#include "tests/sim/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "dataplane/io/sim/random.h"

namespace stoa::simtest {

namespace {

// `later` certainly took effect after `earlier`. The base of a block is an update of rank 0.
bool is_after(const Update& later, const Update& earlier) {
    return later.rank > earlier.rank || later.submitted >= earlier.acknowledged;
}

bool touches(const Update& update, size_t sector) { return (update.mask >> sector & 1) != 0; }

Update base_update(const BlockTags& tags) {
    return {
        .operation = 0, .submitted = 0, .acknowledged = 0, .rank = 0, .mask = 0xFF, .tags = tags};
}

// The union of windows, disjoint and ascending.
std::vector<Window> merge(std::vector<Window> windows) {
    std::ranges::sort(windows, {}, &Window::first);
    std::vector<Window> merged;
    for (const Window& window : windows) {
        if (!merged.empty() && window.first <= merged.back().last + 1) {
            merged.back().last = std::max(merged.back().last, window.last);
        } else {
            merged.push_back(window);
        }
    }
    return merged;
}

std::vector<Window> intersect(const std::vector<Window>& a, const std::vector<Window>& b) {
    std::vector<Window> common;
    for (const Window& one : a) {
        for (const Window& other : b) {
            const Window both{std::max(one.first, other.first), std::min(one.last, other.last)};
            if (!both.empty()) common.push_back(both);
        }
    }
    return common;
}

std::string block_text(const BlockTags& tags, size_t sectors) {
    std::string text;
    for (size_t i = 0; i < sectors; ++i) text += (i == 0 ? "" : " ") + tag_text(tags[i]);
    return text;
}

std::string history_text(const BlockHistory& history) {
    std::string text = "before: " + block_text(history.base, kSectorsPerBlock);
    for (const Update& update : history.updates) {
        text +=
            fmt::format("; #{} [{}, {}] mask {:02x} {}", update.operation, update.submitted,
                        update.acknowledged == kNever ? "-" : std::to_string(update.acknowledged),
                        update.mask, tag_text(update.tags[0]));
    }
    return text;
}

}  // namespace

// ---- content

std::string tag_text(Tag tag) {
    if (tag == kZeroTag) return "zero";
    if (tag == kForeignTag) return "foreign";
    if (tag == kUnreadableTag) return "unreadable";
    return fmt::format("#{}:{}", tag >> 20, tag & 0xFFFFF);
}

void fill_sector(Tag tag, std::byte* sector) {
    if (tag == kZeroTag) {
        std::memset(sector, 0, kSectorBytes);
        return;
    }
    uint64_t word = tag;
    for (size_t i = 0; i < kSectorBytes / 8; ++i) {
        store_le(sector + i * 8, word);
        word = io::sim::mix(word + 0x9e3779b97f4a7c15);
    }
}

Tag read_tag(const std::byte* sector) {
    const auto tag = load_le<Tag>(sector);
    std::array<std::byte, kSectorBytes> expected;
    fill_sector(tag, expected.data());
    return std::memcmp(sector, expected.data(), kSectorBytes) == 0 ? tag : kForeignTag;
}

// ---- blocks

BlockTags BlockHistory::current() const {
    BlockTags value = base;
    for (const Update& update : updates) {
        for (size_t i = 0; i < kSectorsPerBlock; ++i) {
            if (touches(update, i)) value[i] = update.tags[i];
        }
    }
    return value;
}

std::vector<Window> BlockHistory::instants(const BlockTags& seen, size_t sectors,
                                           Window window) const {
    std::vector<Window> allowed{window};
    if (window.empty()) return {};
    if (unknown) return allowed;
    const Update start = base_update(base);
    for (size_t i = 0; i < sectors && !allowed.empty(); ++i) {
        if (seen[i] == kUnreadableTag) continue;
        std::vector<Window> of_sector;
        const auto consider = [&](const Update& update) {
            if (!touches(update, i) || update.tags[i] != seen[i]) return;
            Window span{std::max(window.first, update.submitted), window.last};
            for (const Update& other : updates) {
                if (!touches(other, i) || &other == &update || !is_after(other, update)) continue;
                if (other.acknowledged != kNever) {
                    span.last = std::min(span.last, other.acknowledged - 1);
                }
            }
            if (!span.empty()) of_sector.push_back(span);
        };
        consider(start);
        for (const Update& update : updates) consider(update);
        allowed = intersect(allowed, merge(std::move(of_sector)));
    }
    if (!allowed.empty() && is_torn(seen, sectors)) return {};
    return allowed;
}

// A block is torn if a sector shows an update of which another sector, that the update changes
// too, shows only what was there certainly before it.
bool BlockHistory::is_torn(const BlockTags& seen, size_t sectors) const {
    const Update start = base_update(base);
    const auto may_follow = [&](size_t sector, const Update& update) {
        if (seen[sector] == kUnreadableTag) return true;
        const auto shows = [&](const Update& other) {
            return touches(other, sector) && other.tags[sector] == seen[sector] &&
                   (&other == &update || !is_after(update, other));
        };
        return shows(start) || std::ranges::any_of(updates, shows);
    };
    for (size_t i = 0; i < sectors; ++i) {
        if (seen[i] == kUnreadableTag || seen[i] == base[i]) continue;
        const bool whole = std::ranges::any_of(updates, [&](const Update& update) {
            if (!touches(update, i) || update.tags[i] != seen[i]) return false;
            for (size_t j = 0; j < sectors; ++j) {
                if (touches(update, j) && !may_follow(j, update)) return false;
            }
            return true;
        });
        if (!whole) return true;
    }
    return false;
}

// ---- trees

size_t Tree::sectors_in(uint64_t block) const {
    const uint64_t start = block * kBlockBytes;
    if (start >= size_bytes) return 0;
    return std::min<uint64_t>(kSectorsPerBlock, (size_bytes - start) / kSectorBytes);
}

void Tree::resize(uint64_t bytes) {
    size_bytes = std::min(size_bytes, bytes);
    if (const uint64_t last = size_bytes / kBlockBytes;
        sectors_in(last) < kSectorsPerBlock && last < blocks.size()) {
        BlockHistory& history = blocks[last];
        history.base = history.current();
        history.updates.clear();
        for (size_t i = sectors_in(last); i < kSectorsPerBlock; ++i) history.base[i] = kZeroTag;
    }
    size_bytes = bytes;
    const uint64_t kept = block_count();
    blocks.resize(kept);
}

Tree* Model::find(const Uuid& uuid) {
    const auto at = trees_.find(uuid);
    return at == trees_.end() ? nullptr : &at->second;
}

const Tree* Model::find(const Uuid& uuid) const {
    const auto at = trees_.find(uuid);
    return at == trees_.end() ? nullptr : &at->second;
}

std::vector<Uuid> Model::volumes() const {
    std::vector<Uuid> found;
    for (const auto& [uuid, tree] : trees_) {
        if (!tree.is_snapshot) found.push_back(uuid);
    }
    return found;
}

std::vector<Uuid> Model::snapshots() const {
    std::vector<Uuid> found;
    for (const auto& [uuid, tree] : trees_) {
        if (tree.is_snapshot) found.push_back(uuid);
    }
    return found;
}

std::vector<Uuid> Model::snapshots_of(const Uuid& volume) const {
    std::vector<Uuid> found;
    for (const auto& [uuid, tree] : trees_) {
        if (tree.is_snapshot && tree.volume == volume) found.push_back(uuid);
    }
    return found;
}

void Model::begin(const Uuid& volume, uint64_t operation, uint64_t first_sector, uint64_t sectors,
                  bool zero) {
    Tree& tree = trees_.at(volume);
    const Instant submitted = tick();
    for (uint64_t sector = first_sector; sector < first_sector + sectors;) {
        const uint64_t block = sector / kSectorsPerBlock;
        Update update{.operation = operation, .submitted = submitted, .rank = rank_};
        for (; sector < first_sector + sectors && sector / kSectorsPerBlock == block; ++sector) {
            const size_t i = sector % kSectorsPerBlock;
            update.mask = static_cast<uint8_t>(update.mask | 1U << i);
            update.tags[i] = zero ? kZeroTag : make_tag(operation, sector);
        }
        tree.blocks.at(block).updates.push_back(update);
    }
}

void Model::acknowledge(const Uuid& volume, uint64_t operation) {
    const Instant at = tick();
    Tree* tree = find(volume);
    if (tree == nullptr) return;
    for (BlockHistory& history : tree->blocks) {
        for (Update& update : history.updates) {
            if (update.operation != operation) continue;
            update.acknowledged = at;
            const bool whole = update.mask == 0xFF;
            if (whole) history.unknown = false;
        }
    }
}

void Model::add_volume(const Uuid& uuid, std::string name, uint64_t size_bytes) {
    Tree tree;
    tree.uuid = uuid;
    tree.family = uuid;
    tree.name = std::move(name);
    tree.resize(size_bytes);
    trees_[uuid] = std::move(tree);
}

void Model::add_snapshot(const Uuid& uuid, const Uuid& volume, std::string name) {
    Tree tree = trees_.at(volume);
    tree.uuid = uuid;
    tree.name = std::move(name);
    tree.is_snapshot = true;
    tree.is_protected = false;
    tree.volume = volume;
    tree.parent = Uuid{};
    for (BlockHistory& history : tree.blocks) {
        history.base = history.current();
        history.updates.clear();
    }
    trees_[uuid] = std::move(tree);
}

void Model::add_open_snapshot(const Uuid& uuid, const Uuid& volume, std::string name,
                              Window taken) {
    Tree tree = trees_.at(volume);
    tree.uuid = uuid;
    tree.name = std::move(name);
    tree.is_snapshot = true;
    tree.is_protected = false;
    tree.volume = volume;
    tree.parent = Uuid{};
    tree.is_open = true;
    tree.taken = taken;
    trees_[uuid] = std::move(tree);
}

void Model::add_clone(const Uuid& uuid, const Uuid& snapshot, std::string name,
                      uint64_t size_bytes) {
    Tree tree = trees_.at(snapshot);
    tree.uuid = uuid;
    tree.name = std::move(name);
    tree.is_snapshot = false;
    tree.is_protected = false;
    tree.volume = Uuid{};
    tree.parent = snapshot;
    if (size_bytes != 0) tree.resize(size_bytes);
    trees_[uuid] = std::move(tree);
}

void Model::roll_back(const Uuid& volume, const Uuid& snapshot) {
    Tree& tree = trees_.at(volume);
    const Tree& from = trees_.at(snapshot);
    tree.size_bytes = from.size_bytes;
    tree.blocks = from.blocks;
    tree.has_origin = from.has_origin;
    tree.parent = snapshot;
}

void Model::remove(const Uuid& uuid) {
    if (!trees_.at(uuid).is_snapshot) {
        for (const Uuid& snapshot : snapshots_of(uuid)) trees_.erase(snapshot);
    }
    trees_.erase(uuid);
}

void Model::collapse() {
    durable_ = tick();
    next_rank();
    for (auto& [uuid, tree] : trees_) {
        for (BlockHistory& history : tree.blocks) {
            if (history.updates.empty()) continue;
            history.base = history.current();
            history.updates.clear();
        }
    }
}

// ---- judgement

bool Model::check_objects(const Seen& seen, Verdict& verdict) const {
    const auto fail = [&](const std::string& text) {
        verdict.fail("model-objects", text);
        return false;
    };
    for (const auto& [uuid, tree] : trees_) {
        const bool may_lack = tree.is_open && tree.taken.last == kNever;
        const auto at = seen.find(uuid);
        if (at == seen.end()) {
            if (may_lack) continue;
            return fail(fmt::format("{} {} is missing", tree.is_snapshot ? "snapshot" : "volume",
                                    tree.name));
        }
        const SeenTree& shown = at->second;
        if (shown.name != tree.name) {
            return fail(fmt::format("{} is called {}", tree.name, shown.name));
        }
        if (shown.size_bytes != tree.size_bytes) {
            return fail(fmt::format("{} has {} bytes, expected {}", tree.name, shown.size_bytes,
                                    tree.size_bytes));
        }
        if (shown.is_protected != tree.is_protected) {
            return fail(fmt::format("{}: protection is {}", tree.name, shown.is_protected));
        }
        if (shown.is_snapshot != tree.is_snapshot ||
            (tree.is_snapshot && shown.volume != tree.volume)) {
            return fail(fmt::format("{} belongs to another volume", tree.name));
        }
    }
    for (const auto& [uuid, shown] : seen) {
        if (!trees_.contains(uuid)) return fail(fmt::format("{} should be gone", shown.name));
    }
    return true;
}

// All of `trees` must be at one instant of the window.
bool Model::check_group(const Seen& seen, const std::vector<Uuid>& trees, Window window,
                        const char* oracle, Verdict& verdict) const {
    std::vector<Window> common{window};
    for (const Uuid& uuid : trees) {
        const Tree& tree = trees_.at(uuid);
        const auto at = seen.find(uuid);
        if (at == seen.end()) continue;
        // An open snapshot is judged by the history of its volume.
        const Tree& source = tree.is_open ? trees_.at(tree.volume) : tree;
        for (uint64_t block = 0; block < tree.block_count(); ++block) {
            const BlockHistory& history = source.blocks.at(block);
            const size_t sectors = tree.sectors_in(block);
            const BlockTags& tags = at->second.blocks.at(block);
            const std::vector<Window> allowed = history.instants(tags, sectors, window);
            const std::vector<Window> next = intersect(common, allowed);
            if (next.empty()) {
                verdict.fail(oracle,
                             fmt::format("{} block {} shows [{}], {} in [{}, {}] ({})", tree.name,
                                         block, block_text(tags, sectors),
                                         allowed.empty() ? "possible at no instant"
                                                         : "at no instant of the other blocks",
                                         window.first, window.last, history_text(history)));
                return false;
            }
            common = next;
        }
    }
    return true;
}

bool Model::check(const Seen& seen, Window window, bool adopt, bool durable, const char* oracle,
                  Verdict& verdict) {
    if (!check_objects(seen, verdict)) return false;
    std::vector<Uuid> settled;
    std::map<Instant, std::vector<Uuid>> groups;
    for (const auto& [uuid, tree] : trees_) {
        if (!seen.contains(uuid)) continue;
        if (!tree.is_open) {
            settled.push_back(uuid);
            continue;
        }
        groups[tree.taken.first].push_back(uuid);
        window.first = std::max(window.first, tree.taken.first);
    }
    for (const auto& [start, group] : groups) {
        const Window taken{start, std::min(trees_.at(group.front()).taken.last, now_)};
        if (!check_group(seen, group, taken, oracle, verdict)) return false;
    }
    if (!check_group(seen, settled, window, oracle, verdict)) return false;
    if (adopt) take_over(seen, durable);
    return true;
}

void Model::take_over(const Seen& seen, bool durable) {
    const Instant at = tick();
    std::erase_if(trees_, [&](const auto& item) { return !seen.contains(item.first); });
    for (auto& [uuid, tree] : trees_) {
        const SeenTree& shown = seen.at(uuid);
        for (uint64_t block = 0; block < tree.block_count(); ++block) {
            BlockHistory& history = tree.blocks.at(block);
            const BlockTags& tags = shown.blocks.at(block);
            const bool lost = std::ranges::find(tags, kUnreadableTag) != tags.end();
            if (lost) {
                // Keeps what it may be, unless that was open already.
                const auto unanswered = [](const Update& u) { return u.acknowledged == kNever; };
                if (tree.is_open || std::ranges::any_of(history.updates, unanswered)) {
                    history.unknown = true;
                }
                continue;
            }
            if (durable || tree.is_open || history.unknown) {
                history.base = tags;
                history.updates.clear();
                history.unknown = false;
                continue;
            }
            if (history.updates.empty()) continue;
            // What has been read stays: an update of a rank above all that ran beside each other.
            Update known{.operation = 0,
                         .submitted = at,
                         .acknowledged = at,
                         .rank = rank_ + 1,
                         .mask = 0xFF,
                         .tags = tags};
            for (const Update& update : history.updates) {
                if (update.rank == rank_)
                    known.submitted = std::min(known.submitted, update.submitted);
            }
            if (known.submitted == at) continue;  // nothing of this rank touched it
            history.updates.push_back(known);
        }
        tree.is_open = false;
    }
    if (durable) durable_ = at;
    next_rank();
}

void Model::check_read(const Uuid& tree_uuid, uint64_t first_sector, const std::vector<Tag>& tags,
                       Window window, Verdict& verdict) const {
    const Tree* tree = find(tree_uuid);
    if (tree == nullptr) return;
    for (size_t at = 0; at < tags.size();) {
        const uint64_t block = (first_sector + at) / kSectorsPerBlock;
        BlockTags seen;
        seen.fill(kUnreadableTag);
        for (; at < tags.size() && (first_sector + at) / kSectorsPerBlock == block; ++at) {
            seen[(first_sector + at) % kSectorsPerBlock] = tags[at];
        }
        const BlockHistory& history = tree->blocks.at(block);
        if (history.instants(seen, kSectorsPerBlock, window).empty()) {
            verdict.fail("model-read",
                         fmt::format("{} block {} reads [{}] within [{}, {}] ({})", tree->name,
                                     block, block_text(seen, kSectorsPerBlock), window.first,
                                     window.last, history_text(history)));
            return;
        }
    }
}

std::vector<bool> Model::difference(const Uuid& from_uuid, const Uuid& to_uuid) const {
    const Tree& from = trees_.at(from_uuid);
    const Tree& to = trees_.at(to_uuid);
    std::vector<bool> differs(to.block_count());
    for (uint64_t block = 0; block < differs.size(); ++block) {
        const BlockTags now = to.blocks[block].current();
        const size_t sectors = to.sectors_in(block);
        for (size_t i = 0; i < sectors; ++i) {
            // What lies beyond the end of the older tree counts as zero.
            const bool inside = block < from.block_count() && i < from.sectors_in(block);
            const Tag before = inside ? from.blocks[block].current()[i] : kZeroTag;
            if (before != now[i]) differs[block] = true;
        }
        if (to.blocks[block].unknown ||
            (block < from.block_count() && from.blocks[block].unknown)) {
            differs[block] = false;  // cannot be told
        }
    }
    return differs;
}

}  // namespace stoa::simtest
