#include "controlplane/host/kvm_probe.h"

#include <unistd.h>

#include <cerrno>

#include <fmt/format.h>

#include "controlplane/host/clock.h"
#include "controlplane/host/command.h"
#include "controlplane/host/files.h"
#include "controlplane/host/process.h"

namespace stoa::host {

namespace {

constexpr size_t kCacheBytesMax = 65536;
constexpr double kNanosecondsPerSecond = 1e9;

// What the helper prints.
struct Measurement {
    uint64_t operations = 0;
    int64_t nanoseconds = 0;
    std::string error;
    static constexpr auto fields() {
        return std::tuple(optional("operations", &Measurement::operations, ""),
                          optional("nanoseconds", &Measurement::nanoseconds, ""),
                          optional("error", &Measurement::error, ""));
    }
};

struct Cached {
    std::string boot_id;
    std::string kernel;
    std::string qemu_version;
    std::string device;
    KvmProbe probe;
    static constexpr auto fields() {
        return std::tuple(
            required("boot_id", &Cached::boot_id, ""), required("kernel", &Cached::kernel, ""),
            required("qemu_version", &Cached::qemu_version, ""),
            required("device", &Cached::device, ""), required("probe", &Cached::probe, ""));
    }
};

// Not found, damaged or of another machine: measure again.
std::optional<KvmProbe> read_cache(const KvmProbeOptions& options) {
    if (options.cache.empty()) return std::nullopt;
    const auto text = read_file(options.cache, kCacheBytesMax);
    if (!text.ok()) return std::nullopt;
    const auto json = parse_json(*text);
    Cached cached;
    if (!json.ok() || !from_json(*json, cached).ok()) return std::nullopt;
    if (cached.boot_id != options.boot_id || cached.kernel != options.kernel ||
        cached.qemu_version != options.qemu_version || cached.device != options.device) {
        return std::nullopt;
    }
    return std::move(cached.probe);
}

void write_cache(const KvmProbeOptions& options, const KvmProbe& probe) {
    if (options.cache.empty()) return;
    const Cached cached{.boot_id = options.boot_id,
                        .kernel = options.kernel,
                        .qemu_version = options.qemu_version,
                        .device = options.device,
                        .probe = probe};
    // Without it the next start measures again: no reason to fail.
    static_cast<void>(
        replace_file(options.cache, to_pretty_text(to_json(cached)) + "\n", {.durable = false})
            .ok());
}

KvmProbe judge(const Measurement& measured) {
    KvmProbe probe;
    if (!measured.error.empty() || measured.nanoseconds <= 0 || measured.operations == 0) {
        probe.reason = measured.error.empty() ? "the probe printed no measurement" : measured.error;
        return probe;
    }
    probe.operations_per_second = static_cast<double>(measured.operations) * kNanosecondsPerSecond /
                                  static_cast<double>(measured.nanoseconds);
    probe.usable = probe.operations_per_second >= kKvmOperationsPerSecondMin;
    probe.reason = fmt::format(
        "the probe guest made {:.3g} operations per second{}", probe.operations_per_second,
        probe.usable ? ""
                     : fmt::format(", hardware makes more than {:.0e}: this KVM emulates",
                                   kKvmOperationsPerSecondMin));
    return probe;
}

Async<KvmProbe> measure(const KvmProbeOptions& options) {
    auto run = co_await run_command({.program = options.helper,
                                     .arguments = {"--probe-kvm", options.device},
                                     .limit = options.limit});
    KvmProbe probe;
    if (!run.ok() && run.error().code() == ErrorCode::cancelled) co_return run.take_error();
    if (!run.ok() && run.error().code() == ErrorCode::timeout) {
        probe.reason = fmt::format("the probe guest did not end within {:g} s",
                                   std::chrono::duration<double>(options.limit).count());
        co_return probe;
    }
    if (!run.ok()) {
        probe.reason = "the probe could not be run: " + run.error().message();
        co_return probe;
    }
    const auto json = parse_json(run->output);
    Measurement measured;
    if (!json.ok() || !from_json(*json, measured).ok()) {
        probe.reason =
            fmt::format("the probe ended without a measurement ({})",
                        ExitStatus{.code = run->code, .signal = run->signal}.to_string());
        co_return probe;
    }
    co_return judge(measured);
}

}  // namespace

Async<KvmProbe> probe_kvm(KvmProbeOptions options) {
    if (const auto cached = read_cache(options)) co_return *cached;
    KvmProbe probe;
    if (::access(options.device.c_str(), F_OK) != 0) {
        probe.reason = options.device +
                       " does not exist: no hardware virtualization, or its module is not loaded";
    } else if (::access(options.device.c_str(), R_OK | W_OK) != 0) {
        probe.reason = options.device + " may not be opened by this user (add it to the group kvm)";
    } else {
        CO_TRY_ASSIGN(probe, co_await measure(options));
    }
    probe.measured_ns = SystemClock().wall_ns();
    write_cache(options, probe);
    co_return probe;
}

}  // namespace stoa::host
