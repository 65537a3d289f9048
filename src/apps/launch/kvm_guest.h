// A tiny guest for /dev/kvm, timed: see docs/decisions/011-accelerator.md.
#pragma once

namespace stoa::apps::launch {

// Runs a loop of known length in a virtual CPU and prints one line of JSON: {"operations": N,
// "nanoseconds": N} or {"error": "what failed: why"}. May hang where KVM does: the caller has a
// time limit. Returns the exit code: 0 if the guest ran to its end.
int probe_kvm(const char* device);

}  // namespace stoa::apps::launch
