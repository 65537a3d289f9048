// What we ask of QEMU, with types. Errors are those of Qmp::call, and io for an answer that is not
// as documented (QEMU's docs/interop/qemu-qmp-ref).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "controlplane/async/async.h"
#include "controlplane/qemu/qmp.h"

namespace stoa::qemu {

// QEMU's RunState.
enum class RunState : uint8_t {
    other,           // one that this program does not know
    prelaunch,       // started with -S; not yet let run
    running,
    paused,          // by `stop`
    io_error,        // by a disk: `cont` repeats the request
    shutdown,        // the guest powered itself off
    guest_panicked,
    internal_error,  // KVM failed
    inmigrate,
    postmigrate,
    suspended,       // S3
    watchdog,
};
constexpr std::array<std::string_view, 12> enum_names(RunState /*type*/) {
    return {"other",     "prelaunch",   "running",        "paused",
            "io-error",  "shutdown",    "guest-panicked", "internal-error",
            "inmigrate", "postmigrate", "suspended",      "watchdog"};
}

Async<RunState> query_status(Qmp& qmp);
// Lets the CPUs run; also repeats the requests of a VM stopped by its disks.
Async<> cont(Qmp& qmp);
// With a dead disk server it can take until that disk's reconnect delay: give a limit.
Async<> stop(Qmp& qmp, std::chrono::milliseconds limit = kQmpLimit);
// Presses the power button; ends at once, whatever the guest makes of it.
Async<> system_powerdown(Qmp& qmp);
Async<> system_reset(Qmp& qmp);
// Ends QEMU. The connection's loss instead of an answer counts as success.
Async<> quit(Qmp& qmp);
// QEMU writes the file (PNG), with its own rights, replacing one that is there.
Async<> screendump(Qmp& qmp, std::string path);
// Tells QEMU and the guest the size; the volume must have it already.
Async<> block_resize(Qmp& qmp, std::string_view disk_name, uint64_t size_bytes);

struct DiskState {
    std::string name;    // as disk_serial() made it
    bool is_failed = false;  // its last request failed: the VM is stopped by it
    bool is_full = false;    // ... for lack of space
    uint64_t reads = 0;
    uint64_t writes = 0;
    uint64_t flushes = 0;
    uint64_t read_bytes = 0;
    uint64_t written_bytes = 0;
};
// Of the disks made by arguments(), in no special order.
Async<std::vector<DiskState>> query_disks(Qmp& qmp);

// What the balloon aims at; the guest gives memory back as it likes.
Async<> balloon(Qmp& qmp, uint64_t memory_bytes);
// What the guest has at the moment; all of it if it has no driver.
Async<uint64_t> query_balloon(Qmp& qmp);

// Threads of the virtual CPUs, by index.
Async<std::vector<int32_t>> query_cpu_threads(Qmp& qmp);
// -uuid, to make sure who is at the other end.
Async<std::string> query_uuid(Qmp& qmp);

}  // namespace stoa::qemu
