// Renews the leaf while the program runs: no restart, and connections that are open stay open.
#pragma once

#include <chrono>
#include <functional>

#include "controlplane/access/certificates.h"
#include "controlplane/async/async.h"
#include "controlplane/async/worker.h"
#include "controlplane/host/clock.h"

namespace stoa::access {

struct KeeperOptions {
    CertificateOptions certificates;             // now_ns and make_anew are set here
    std::chrono::milliseconds interval{3'600'000};  // between two looks
    // After each look that made a new leaf, and after each that failed.
    std::function<void(Result<Certificates>)> changed;
};

// Looks at once and then at intervals, until it is cancelled: for a Scope. What is passed in
// outlives it.
AsyncVoid keep_certificates(KeeperOptions options, const host::Clock& clock, Worker& worker);

}  // namespace stoa::access
