#include "dataplane/pool/history.h"

#include <algorithm>
#include <tuple>

#include <fmt/format.h>

namespace stoa::pool {

namespace {

bool descends_from(const Superblock& superblock, uint64_t branch) {
    return superblock.branch == branch || std::ranges::find(superblock.branches_before, branch) !=
                                              superblock.branches_before.end();
}

// How many branches before that of `head` the superblock is.
size_t branches_behind(const Superblock& head, const Superblock& superblock) {
    if (superblock.branch == head.branch) return 0;
    const auto& before = head.branches_before;
    return 1 + static_cast<size_t>(std::ranges::find(before, superblock.branch) - before.begin());
}

bool is_newer(const Superblock& a, const Superblock& b) {
    if (a.branch == b.branch) return a.generation > b.generation;
    return descends_from(a, b.branch);
}

// A crash, or an error, while superblocks were written leaves a device without the newest. It gets
// none either as long as every opening ends so; and each of these has its own incarnation.
bool is_older_than_a_crash_makes_it(const Superblock& head, const Superblock& newest_there) {
    const uint64_t behind = head.generation - newest_there.generation;
    const uint64_t openings =
        head.incarnation - std::min(head.incarnation, newest_there.incarnation);
    return newest_there.generation < head.generation && behind > 1 + openings;
}

}  // namespace

Result<void> settle_history(std::vector<Candidate>& found, std::vector<PoolDevice>& devices) {
    if (found.empty()) return {};
    const Candidate* newest = &found.front();
    for (const Candidate& other : found) {
        const Superblock& a = newest->superblock;
        const Superblock& b = other.superblock;
        if (!descends_from(a, b.branch) && !descends_from(b, a.branch)) {
            return Error(ErrorCode::invalid_argument,
                         fmt::format("devices {} and {} were each used without the other: the pool "
                                     "has two histories; open it without one of them",
                                     devices[newest->device].device->name(),
                                     devices[other.device].device->name()));
        }
        if (is_newer(b, a)) newest = &other;
    }
    const Superblock head = newest->superblock;
    for (size_t d = 0; d < devices.size() && d < kDevicesMax; ++d) {
        PoolDevice& device = devices[d];
        if (device.device == nullptr) continue;
        device.stale = head.devices[d].state == DeviceState::missing;
        if (device.stale) continue;
        const Superblock* own = nullptr;
        for (const Candidate& candidate : found) {
            if (candidate.device != d) continue;
            if (own == nullptr || is_newer(candidate.superblock, *own)) own = &candidate.superblock;
        }
        if (own != nullptr && is_older_than_a_crash_makes_it(head, *own)) {
            return Error(ErrorCode::invalid_argument,
                         fmt::format("device {} is older than the pool: generation {}, the others "
                                     "have {}; open the pool without this device",
                                     device.device->name(), own->generation, head.generation));
        }
    }
    std::erase_if(
        found, [&devices](const Candidate& candidate) { return devices[candidate.device].stale; });
    std::ranges::sort(found, [&head](const Candidate& a, const Candidate& b) {
        const size_t a_behind = branches_behind(head, a.superblock);
        const size_t b_behind = branches_behind(head, b.superblock);
        return std::tie(a_behind, b.superblock.generation) <
               std::tie(b_behind, a.superblock.generation);
    });
    return {};
}

Result<void> check_journal_is_here(const Superblock& superblock,
                                   const std::vector<PoolDevice>& devices) {
    for (const uint16_t device : superblock.placement) {
        if (device < devices.size() && devices[device].is_member()) return {};
    }
    return Error(
        ErrorCode::invalid_argument,
        fmt::format("neither device {} nor {} of pool '{}', which hold its journal, is "
                    "here with its newest state",
                    superblock.placement[0], superblock.placement[1], devices.front().label.name));
}

void note_missing_devices(const std::vector<PoolDevice>& devices, io::Executor& executor,
                          Superblock& next) {
    bool leaves_out = false;
    for (size_t d = 0; d < devices.size(); ++d) {
        if (devices[d].is_member()) continue;
        leaves_out = leaves_out || next.devices[d].state == DeviceState::present;
        next.devices[d].state = DeviceState::missing;
    }
    if (!leaves_out) return;
    std::ranges::copy_backward(std::span(next.branches_before).first(kBranchesKept - 1),
                               next.branches_before.end());
    next.branches_before.front() = next.branch;
    next.branch = std::max<uint64_t>(executor.random(), 1);
}

}  // namespace stoa::pool
