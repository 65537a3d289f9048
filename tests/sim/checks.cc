// What can be asked of a pool at rest: differences, extents, space, content.
#include <fmt/format.h>

#include <algorithm>

#include "tests/sim/actions.h"

namespace stoa::simtest {

// ---- differences

std::optional<std::vector<pool::DiffRange>> Actions::diff_ranges(Uuid from, Uuid to) {
    std::vector<pool::DiffRange> all;
    uint64_t offset = 0;
    // Few ranges a page, so that pages have edges.
    for (int pages = 0;; ++pages) {
        auto result = world_.run(world_.pool().diff(from, to, offset, 3), "diff", verdict_);
        if (!result || world_.crashed()) return std::nullopt;
        if (!result->ok()) {
            if (!tolerated(result->error())) {
                verdict_.fail("diff",
                              fmt::format("{} to {}: {}", model_.trees().at(from).name,
                                          model_.trees().at(to).name, result->error().message()));
            }
            return std::nullopt;
        }
        const pool::DiffPage& page = **result;
        all.insert(all.end(), page.ranges.begin(), page.ranges.end());
        if (page.finished) return all;
        if (page.next_offset_bytes <= offset || pages > 10'000) {
            verdict_.fail("diff", fmt::format("does not advance beyond offset {}", offset));
            return std::nullopt;
        }
        offset = page.next_offset_bytes;
    }
}

void Actions::check_diff(Uuid from, Uuid to) {
    if (ended() || uncertain_) return;
    const auto ranges = diff_ranges(from, to);
    if (!ranges) return;
    const Tree& newer = model_.trees().at(to);
    const std::vector<bool> differs = model_.difference(from, to);
    std::vector<bool> covered(differs.size());
    uint64_t end_before = 0;
    for (const pool::DiffRange& range : *ranges) {
        const uint64_t end = range.offset_bytes + range.length_bytes;
        if (range.length_bytes == 0 || range.offset_bytes < end_before) {
            verdict_.fail("diff", fmt::format("range {} + {} is empty or out of order",
                                              range.offset_bytes, range.length_bytes));
            return;
        }
        end_before = end;
        for (uint64_t block = range.offset_bytes / kBlockBytes;
             block < covered.size() && block * kBlockBytes < end; ++block) {
            covered[block] = true;
            const BlockTags now = newer.blocks[block].current();
            const bool nothing = range.kind == block::ExtentKind::hole ||
                                 (range.kind == block::ExtentKind::absent && !newer.has_origin);
            if (nothing && now != BlockTags{} && !newer.blocks[block].unknown) {
                verdict_.fail("diff", fmt::format("{} block {} holds data and is called a hole",
                                                  newer.name, block));
            }
        }
    }
    for (uint64_t block = 0; block < differs.size(); ++block) {
        if (differs[block] && !covered[block]) {
            verdict_.fail("diff", fmt::format("{} to {}: block {} differs and is not listed",
                                              model_.trees().at(from).name, newer.name, block));
            return;
        }
    }
    if (from == to && !ranges->empty()) {
        verdict_.fail("diff", fmt::format("{} differs from itself", newer.name));
    }
}

void Actions::check_all_diffs() {
    std::vector<Uuid> trees;
    for (const auto& [uuid, tree] : model_.trees()) trees.push_back(uuid);
    for (const Uuid& from : trees) {
        for (const Uuid& to : trees) {
            if (model_.trees().at(from).family == model_.trees().at(to).family) {
                check_diff(from, to);
            }
        }
    }
}

// ---- extents

void Actions::check_extents(Uuid uuid) {
    if (ended() || uncertain_ || !attach(uuid)) return;
    const Tree& tree = model_.trees().at(uuid);
    uint64_t offset = 0;
    while (offset < tree.size_bytes) {
        auto result = world_.run(handle(uuid)->extents(offset, tree.size_bytes - offset, 3),
                                 "extents", verdict_);
        if (!result || world_.crashed()) return;
        if (!result->ok()) {
            if (!tolerated(result->error())) {
                verdict_.fail("extents", result->error().message());
            }
            return;
        }
        if ((*result)->empty()) {
            verdict_.fail("extents", fmt::format("{}: none at {}", tree.name, offset));
            return;
        }
        for (const block::Extent& extent : **result) {
            if (extent.offset_bytes != offset || extent.length_bytes == 0) {
                verdict_.fail("extents", fmt::format("{}: a gap at {}", tree.name, offset));
                return;
            }
            const uint64_t end = offset + extent.length_bytes;
            for (uint64_t block = offset / kBlockBytes; block * kBlockBytes < end; ++block) {
                const bool nothing = extent.kind == block::ExtentKind::hole ||
                                     (extent.kind == block::ExtentKind::absent && !tree.has_origin);
                const BlockHistory& history = tree.blocks.at(block);
                if (nothing && history.current() != BlockTags{} && !history.unknown) {
                    verdict_.fail("extents",
                                  fmt::format("{} block {} holds data and is called empty",
                                              tree.name, block));
                    return;
                }
            }
            offset = end;
        }
    }
}

// ---- space

void Actions::check_space() {
    if (verdict_.failed() || world_.crashed()) return;
    const pool::SpaceInfo space = world_.pool().info().space;
    const uint64_t sum = space.system + space.data + space.nodes + space.quarantine + space.bad +
                         space.free + space.away;
    if (sum != space.total) {
        verdict_.fail(
            "space", fmt::format("{} system + {} data + {} nodes + {} quarantine + {} bad + {} "
                                 "free is {}, not {}",
                                 space.system, space.data, space.nodes, space.quarantine, space.bad,
                                 space.free, sum, space.total));
    }
}

// What the pool says that deleting a snapshot frees is what deleting it frees.
void Actions::check_exclusive(Uuid snapshot) {
    settle();
    checkpoint();
    if (ended() || uncertain_) return;
    detach(snapshot);
    auto told = world_.run(world_.pool().exclusive_bytes(snapshot), "exclusive_bytes", verdict_);
    if (!told || world_.crashed()) return;
    if (!told->ok()) {
        accept(told->error(), "exclusive_bytes");
        return;
    }
    const uint64_t before = world_.pool().info().space.data;
    remove_snapshot(snapshot);
    settle();
    checkpoint();
    if (ended() || uncertain_) return;
    // A hidden snapshot may go with it: only a chain without branches is exact.
    const uint64_t freed = (before - world_.pool().info().space.data) * kBlockBytes;
    if (**told > freed || (**told < freed && !had_clones_)) {
        verdict_.fail("space", fmt::format("exclusive_bytes said {}, deleting freed {} bytes",
                                           **told, freed));
    }
}

// ---- content

void Actions::check_all() {
    // What a pool shows that failed may not be what it comes back with.
    if (ended() || pool_failed()) return;
    auto seen = world_.observe(tolerance.damage || tolerance.device_errors, verdict_);
    if (!seen || ended()) return;
    if (after_) {
        // The last operation on objects failed: all of it was done, or nothing.
        Verdict done;
        Model candidate = *after_;
        const Window present{candidate.now(), candidate.now()};
        if (candidate.check(*seen, present, true, false, "model-read", done)) {
            model_ = std::move(candidate);
            after_.reset();
        }
    }
    const Instant now = model_.now();
    model_.check(*seen, {now, now}, true, false, "model-read", verdict_);
    after_.reset();
    uncertain_ = false;
}

}  // namespace stoa::simtest
