// How a guest's QEMU is started. Each state is committed before the step that leads on, so that
// whoever finds it after a crash knows what may be there:
//     starting (launch without pid) -> the process may be there: its status file tells
//     starting (launch with pid)    -> QEMU waits with its CPUs stopped
//     running                       -> cont may have been sent or not
#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "controlplane/async/deadline.h"
#include "controlplane/host/files.h"
#include "controlplane/host/open_file.h"
#include "controlplane/machine/guest.h"
#include "controlplane/machine/machine_arguments.h"

namespace stoa::machine {

namespace {

// A host that is short of processors is no reason to give a guest up.
constexpr std::chrono::seconds kMonitorLimit{60};
constexpr int kContTries = 10;
constexpr int kFirstNumber = 10;  // of passed descriptors in QEMU

// What QEMU's process may use of the host, whatever its guest makes of it.
std::vector<host::ResourceLimit> process_limits() {
    return {{"nofile", 4096, 4096}, {"core", 0, 0}};
}

// The last words of QEMU, for messages.
std::string last_words(const std::string& log) {
    const auto text = host::read_file(log, size_t{2} << 20);
    if (!text.ok()) return {};
    std::string words = text->substr(text->size() > 600 ? text->size() - 600 : 0);
    while (!words.empty() && words.back() == '\n') words.pop_back();
    const size_t line = words.find_last_of('\n');
    return line == std::string::npos ? words : words.substr(line + 1);
}

// Descriptors that go to QEMU, and the numbers they get there.
class Passing {
public:
    int add(host::Descriptor descriptor) {
        owned_.push_back(std::move(descriptor));
        return kFirstNumber + static_cast<int>(owned_.size()) - 1;
    }
    [[nodiscard]] std::vector<int> descriptors() const {
        std::vector<int> all;
        for (const auto& each : owned_) all.push_back(each.get());
        return all;
    }
    [[nodiscard]] std::vector<uint32_t> numbers() const {
        std::vector<uint32_t> all;
        for (size_t i = 0; i < owned_.size(); ++i) {
            all.push_back(static_cast<uint32_t>(kFirstNumber + static_cast<int>(i)));
        }
        return all;
    }

private:
    std::vector<host::Descriptor> owned_;
};

Result<host::Descriptor> open_image_file(const Settings& settings, const Uuid& image,
                                         std::string_view file) {
    return host::open_to_read(
        fmt::format("{}/stoad/images/{}/{}", settings.root, image.to_string(), file));
}

}  // namespace

bool Guest::is_launched(uint64_t epoch) const {
    if (!has_process() || !status_.launch || status_.launch->epoch != epoch) return false;
    return status_.state == model::VmState::running || status_.state == model::VmState::paused ||
           status_.state == model::VmState::paused_storage;
}

Async<> Guest::launch(LaunchStep step) {
    if (is_launching_)
        co_return Error(ErrorCode::busy, fmt::format("vm {} is being started", name()));
    is_launching_ = true;
    auto done = co_await begin(step);
    is_launching_ = false;
    co_return done;
}

Async<> Guest::begin(LaunchStep step) {
    CO_TRY_ASSIGN(const VmRecord vm, record());
    const bool runs = has_process() && status_.state != model::VmState::starting;
    // Started meanwhile, by another task: what was wanted is so.
    if (runs) co_return Result<void>();
    CO_TRY(co_await end_leftover());
    model::Launch launch;
    launch.epoch = step.epoch;
    launch.boot_id = services_.settings.boot_id;
    launch.accelerator = std::string(enum_names(services_.settings.accelerator)
                                         .at(static_cast<size_t>(services_.settings.accelerator)));
    launch.started_ns = services_.clock.wall_ns();
    launch.spec = vm.spec;
    CO_TRY_ASSIGN(launch.uid, choose_uid());
    has_turned_off_ = false;
    has_panicked_ = false;
    run_state_ = qemu::RunState::other;
    CO_TRY(co_await update([&](model::VmStatus& status) {
        status.state = model::VmState::starting;
        status.reason.clear();
        status.host = services_.settings.host;
        status.launch = launch;
        status.frozen = false;
    }));
    CO_TRY(co_await start_process(vm, launch));
    CO_TRY(co_await connect(kMonitorLimit));
    // Turned off while it was being started: that was asked for later.
    CO_TRY_ASSIGN(const VmRecord now, record());
    if (now.spec.power != model::Power::on) {
        co_return Error(ErrorCode::cancelled,
                        fmt::format("vm {} was turned off while it was being started", vm.name));
    }
    CO_TRY(co_await set_state(model::VmState::running));
    CO_TRY(co_await let_run());
    tell(fmt::format("vm {} was started ({})", vm.name, launch.accelerator));
    co_return Result<void>();
}

Async<> Guest::let_run() {
    // Asked again when no answer came in time: it does no harm to one that runs already.
    Result<void> done;
    for (int i = 0; i < kContTries && !closing_; ++i) {
        CO_TRY_ASSIGN(const auto monitor, qmp());
        done = co_await qemu::cont(*monitor);
        if (done.ok() || done.error().code() != ErrorCode::timeout) break;
    }
    co_return done;
}

Result<uint32_t> Guest::choose_uid() const {
    const Settings& settings = services_.settings;
    if (!settings.is_root) return settings.own_uid;
    std::set<uint32_t> taken;
    for (const auto& [id, vm] : services_.records.all<model::Vm>()) {
        if (id != vm_ && vm.status.launch) taken.insert(vm.status.launch->uid);
    }
    // The one it had last, so that it finds its own files again.
    if (status_.launch && status_.launch->uid >= settings.uid_first &&
        status_.launch->uid < settings.uid_first + settings.uid_count &&
        !taken.contains(status_.launch->uid)) {
        return status_.launch->uid;
    }
    for (uint32_t i = 0; i < settings.uid_count; ++i) {
        if (!taken.contains(settings.uid_first + i)) return settings.uid_first + i;
    }
    return Error(ErrorCode::no_space,
                 fmt::format("all {} user ids for VMs are taken: give stoad a larger range",
                             settings.uid_count));
}

Async<> Guest::start_process(VmRecord vm, model::Launch launch) {
    const Settings& settings = services_.settings;
    const uint32_t gid = gid_of(launch.uid);
    const std::string directory = run_directory(settings, vm_);
    CO_TRY(host::remove_tree(directory));
    CO_TRY(host::make_directories(state_directory(settings, vm_)));
    CO_TRY(host::remove_file(status_file(settings, vm_)));
    CO_TRY(host::make_private_directory(
        directory, 0700,
        settings.is_root ? std::optional(host::FileOwner{launch.uid, gid}) : std::nullopt));
    CO_TRY_ASSIGN(auto disks, co_await services_.disks.attach(
                                  {vm_, launch.epoch, launch.uid, gid, directory}, vm.spec.disks));
    Passing passing;
    PassedNumbers numbers;
    std::string command_line;
    if (vm.spec.direct_boot) {
        const Uuid image = vm.spec.direct_boot->image;
        CO_TRY_ASSIGN(auto kernel, open_image_file(settings, image, "kernel"));
        numbers.kernel = passing.add(std::move(kernel));
        auto initrd = open_image_file(settings, image, "initrd");
        if (initrd.ok()) numbers.initrd = passing.add(*std::move(initrd));
        else if (initrd.error().code() != ErrorCode::not_found) co_return initrd.take_error();
        const auto* found = services_.records.get<model::Image>(image);
        if (found != nullptr) command_line = found->spec.command_line;
    }
    if (vm.spec.firmware == model::Firmware::uefi) {
        CO_TRY_ASSIGN(auto variables,
                      host::open_own_copy(settings.uefi_variables,
                                          state_directory(settings, vm_) + "/uefi-variables",
                                          {launch.uid, gid}));
        numbers.uefi_variables = passing.add(std::move(variables));
    }
    for (const model::VmNic& nic : vm.spec.nics) {
        numbers.taps.emplace_back();
        if (!nic.network) continue;
        CO_TRY_ASSIGN(auto tap, co_await services_.taps.open(vm_, nic));
        numbers.taps.back() = passing.add(std::move(tap));
    }
    CO_TRY_ASSIGN(const auto machine,
                  machine_arguments(vm, std::move(disks), numbers, command_line, settings));
    host::LaunchSpec spec;
    spec.program = settings.qemu;
    CO_TRY_ASSIGN(spec.arguments, qemu::arguments(machine));
    spec.directory = "/";
    if (settings.is_root) {
        spec.uid = launch.uid;
        spec.gid = gid;
    }
    const auto group = services_.cgroups.create("vms/" + vm_.to_string());
    if (group.ok()) spec.cgroups = group->directories();
    spec.descriptors = passing.numbers();
    spec.limits = process_limits();
    spec.log = log_file(settings, vm_);
    spec.status = status_file(settings, vm_);
    auto launched = co_await host::launch(std::move(spec), passing.descriptors(),
                                          {.helper = settings.launch_helper});
    if (!launched.ok()) co_return launched.take_error();
    const host::ProcessIdentity identity = launched->process.identity();
    hold(std::move(launched->process));
    co_return co_await update([&identity](model::VmStatus& status) {
        status.launch->pid = identity.pid;
        status.launch->start_ticks = identity.start_ticks;
    });
}

Async<> Guest::connect(std::chrono::milliseconds limit) {
    auto monitor = co_await qemu::Qmp::connect(
        qemu::qmp_socket(run_directory(services_.settings, vm_)), limit);
    if (!has_process()) {
        if (monitor.ok()) co_await (*monitor)->close();
        // Its keeper writes them a moment after its end.
        std::string words;
        for (int i = 0; i < 25 && words.empty() && !closing_; ++i) {
            words = last_words(log_file(services_.settings, vm_));
            if (words.empty()) co_await pause_for(std::chrono::milliseconds(20));
        }
        co_return Error(ErrorCode::io, fmt::format("QEMU of vm {} ended at once: {}", name(),
                                                   words.empty() ? "it said nothing" : words));
    }
    if (!monitor.ok()) co_return monitor.error().with_context(fmt::format("vm {}", name()));
    qmp_ = *std::move(monitor);
    const auto uuid = co_await qemu::query_uuid(*qmp_);
    if (!uuid.ok()) co_return uuid.error().with_context(fmt::format("vm {}", name()));
    if (*uuid != vm_.to_string()) {
        co_return Error(
            ErrorCode::conflict,
            fmt::format("the QEMU at the monitor of vm {} is that of {}", name(), *uuid));
    }
    co_return Result<void>();
}

// Of a launch that was cut off: a QEMU that never ran its guest, or one that no record knows.
Async<> Guest::end_leftover() {
    if (!process_) {
        const auto left = host::read_process_status(status_file(services_.settings, vm_));
        if (!left.ok() || left->process.boot_id != services_.settings.boot_id) {
            co_return Result<void>();
        }
        auto process = host::Process::adopt(services_.executor, left->process, vm_.to_string(),
                                            status_file(services_.settings, vm_));
        if (!process.ok()) co_return Result<void>();  // it is gone, or another's
        hold(*std::move(process));
    }
    co_return co_await end_process();
}

Async<> Guest::abandon(LaunchStep step) {
    // A launch that never began, or that another one followed.
    if (!status_.launch || status_.launch->epoch != step.epoch) co_return Result<void>();
    is_stopping_ = true;
    auto ended = co_await end_leftover();
    is_stopping_ = false;
    if (!ended.ok()) co_return ended;
    if (!step.is_restart) co_return co_await become_off("it could not be started", true);
    co_return co_await become_crashed("it could not be started again");
}

}  // namespace stoa::machine
