// What several sequences are made of.
#pragma once

#include <functional>

#include "dataplane/io/sync.h"
#include "tests/sim/sequences.h"

namespace stoa::simtest {

inline constexpr uint64_t kBlock = kSectorsPerBlock;  // in sectors

inline io::sim::Latency in_order() { return {.in_order = true}; }

inline WorldOptions quiet() {
    WorldOptions options;
    options.latency = in_order();
    options.knobs.idle_checkpoint_ns = 1'000'000'000'000;
    return options;
}

inline Uuid first_volume(Actions& actions) {
    // Identifiers grow, but not bytewise: the oldest one has the smallest number.
    Uuid first;
    uint64_t least = ~uint64_t{0};
    for (const Uuid& uuid : actions.model().volumes()) {
        const auto number = load_le<uint64_t>(uuid.bytes.data() + 8);
        if (number < least) first = uuid;
        least = std::min(least, number);
    }
    return first;
}

// Runs what `start` spawns to its end.
inline void run_group(Actions& actions, Verdict& verdict,
                      const std::function<void(io::TaskGroup&)>& start) {
    if (actions.ended()) return;
    actions.model().next_rank();
    auto* group = new io::TaskGroup(actions.world().simulator());  // a hanging task keeps it
    start(*group);
    if (!actions.world().drive([&] { return group->running() == 0; })) {
        verdict.fail("liveness", "operations beside each other do not end");
        return;
    }
    delete group;
    if (!actions.ended()) actions.check_all();
}

inline void steps(Actions& actions, uint64_t count) {
    actions.world().drive([left = count]() mutable { return left-- == 0; });
}

inline void one_volume(Actions& actions, Verdict&) {
    const auto v = actions.create_volume(4 * kBlockBytes);
    if (v) actions.run_write(*v, 0, 4 * kBlock);
    if (v) actions.checkpoint();
}

inline void many_blocks(Actions& actions, Verdict&) {
    const auto v = actions.create_volume(200 * kBlockBytes);
    if (v) actions.run_write(*v, 0, 200 * kBlock);
    if (v) actions.checkpoint();
}

}  // namespace stoa::simtest
