// The steps that tasks on virtual machines consist of, as values: what planners put into plans and
// what step types (launch_steps.cc, disk_steps.cc) take out of them.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/describe.h"
#include "base/uuid.h"
#include "controlplane/model/task.h"
#include "controlplane/model/vm.h"

namespace stoa::machine {

// vm.finish: what its record needs is there; it is off. Undone: nothing (task::RecordStep).
struct FinishStep {
    static constexpr std::string_view kType = "vm.finish";
    Uuid vm;
    static constexpr auto fields() { return std::tuple(required("vm", &FinishStep::vm, "")); }
};

// vm.launch: QEMU runs with this epoch, and the guest is running. Undone: no QEMU of this epoch
// runs; if it was no restart the VM is not wanted on any more.
struct LaunchStep {
    static constexpr std::string_view kType = "vm.launch";
    Uuid vm;
    uint64_t epoch = 0;
    bool is_restart = false;
    static constexpr auto fields() {
        return std::tuple(required("vm", &LaunchStep::vm, ""),
                          required("epoch", &LaunchStep::epoch, "of this launch"),
                          optional("restart", &LaunchStep::is_restart,
                                   "after a crash: if it fails, the VM is still wanted on"));
    }
};

// vm.shutdown: no QEMU of this VM runs, its disks are detached. By the guest agent, then ACPI,
// then, after the time, as by a loss of power; at once if forced.
struct ShutdownStep {
    static constexpr std::string_view kType = "vm.shutdown";
    Uuid vm;
    bool force = false;
    uint32_t timeout_seconds = 60;
    static constexpr auto fields() {
        return std::tuple(required("vm", &ShutdownStep::vm, ""),
                          optional("force", &ShutdownStep::force, ""),
                          optional("timeout_seconds", &ShutdownStep::timeout_seconds, ""));
    }
};

enum class RunVerb : uint8_t { pause, resume, reset };
constexpr std::array<std::string_view, 3> enum_names(RunVerb /*type*/) {
    return {"pause", "resume", "reset"};
}

// vm.run_state: pauses, resumes or resets a guest that runs.
struct RunStateStep {
    static constexpr std::string_view kType = "vm.run_state";
    Uuid vm;
    RunVerb verb = RunVerb::pause;
    static constexpr auto fields() {
        return std::tuple(required("vm", &RunStateStep::vm, ""),
                          required("verb", &RunStateStep::verb, "pause, resume or reset"));
    }
};

// vm.snapshot: one atomic snapshot of all disks in a pool; the guest's file systems are frozen
// meanwhile if they can be. Undone: the snapshots and their record are gone.
struct SnapshotStep {
    static constexpr std::string_view kType = "vm.snapshot";
    Uuid vm;
    Uuid record;
    bool crash_consistent = false;
    uint32_t freeze_seconds = 10;
    static constexpr auto fields() {
        return std::tuple(
            required("vm", &SnapshotStep::vm, ""),
            required("record", &SnapshotStep::record, "of the snapshot; holds its parts"),
            optional("crash_consistent", &SnapshotStep::crash_consistent, ""),
            optional("freeze_seconds", &SnapshotStep::freeze_seconds, ""));
    }
};

// vm.grow_disk: a guest that runs is told that its disk has grown.
struct GrowDiskStep {
    static constexpr std::string_view kType = "vm.grow_disk";
    Uuid vm;
    std::string disk;
    uint64_t size_bytes = 0;
    static constexpr auto fields() {
        return std::tuple(required("vm", &GrowDiskStep::vm, ""),
                          required("disk", &GrowDiskStep::disk, "its name within the VM"),
                          required("size_bytes", &GrowDiskStep::size_bytes, ""));
    }
};

// vm.mark_deleted: its state is `deleted`.
struct MarkDeletedStep {
    static constexpr std::string_view kType = "vm.mark_deleted";
    Uuid vm;
    static constexpr auto fields() { return std::tuple(required("vm", &MarkDeletedStep::vm, "")); }
};

// vm.set: the record was changed by the plan's intent. Undone: it is as it was before.
struct SetStep {
    static constexpr std::string_view kType = "vm.set";
    Uuid vm;
    model::VmSpec before;
    static constexpr auto fields() {
        return std::tuple(required("vm", &SetStep::vm, ""),
                          required("before", &SetStep::before, "the spec that it had"));
    }
};

// vm.restore: no longer `deleted`.
struct RestoreStep {
    static constexpr std::string_view kType = "vm.restore";
    Uuid vm;
    static constexpr auto fields() { return std::tuple(required("vm", &RestoreStep::vm, "")); }
};

// vm.clean: its files and control group are gone.
struct CleanStep {
    static constexpr std::string_view kType = "vm.clean";
    Uuid vm;
    static constexpr auto fields() { return std::tuple(required("vm", &CleanStep::vm, "")); }
};

template <class Arguments>
[[nodiscard]] model::Step step(const Arguments& arguments, std::string text) {
    return {std::string(Arguments::kType), to_json(arguments), std::move(text)};
}

// The arguments of a step that a plan of this or an earlier version holds.
// Errors: corrupt (names the step's type).
template <class Arguments>
[[nodiscard]] Result<Arguments> arguments_of(const model::Step& step) {
    Arguments arguments;
    const auto read = from_json(step.arguments, arguments, step.type);
    if (!read.ok()) return Error(ErrorCode::corrupt, read.error().message());
    return arguments;
}

}  // namespace stoa::machine
