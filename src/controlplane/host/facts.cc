#include "controlplane/host/facts.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "controlplane/host/clock.h"
#include "controlplane/host/command.h"
#include "controlplane/host/files.h"
#include "controlplane/host/process.h"

namespace stoa::host {

namespace {

constexpr size_t kFileBytesMax = size_t{16} << 20;
constexpr std::chrono::milliseconds kQemuWithin{5000};
constexpr const char* kQemu = "qemu-system-x86_64";
constexpr std::array kPrograms = {"qemu-system-x86_64", "qemu-img", "dnsmasq", "nft", "ip"};

std::string read_or_empty(const std::string& path) {
    auto text = read_file(path, kFileBytesMax);
    return text.ok() ? *std::move(text) : "";
}

uint32_t usable_cpus() {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (::sched_getaffinity(0, sizeof set, &set) == 0)
        return static_cast<uint32_t>(CPU_COUNT(&set));
    return static_cast<uint32_t>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
}

std::optional<bool> clock_synchronized() {
    timex now{};
    const int state = ::adjtimex(&now);
    if (state < 0) return std::nullopt;
    return state != TIME_ERROR && (now.status & STA_UNSYNC) == 0;
}

void read_system(HostFacts& facts) {
    if (auto boot = boot_id(); boot.ok()) facts.boot_id = *std::move(boot);
    utsname names{};
    if (::uname(&names) == 0) {
        facts.kernel = static_cast<const char*>(names.release);
        facts.host_name = static_cast<const char*>(names.nodename);
    }
    facts.distribution = parse_distribution(read_or_empty("/etc/os-release"));
    facts.cpus = usable_cpus();
    if (auto memory = read_memory(); memory.ok()) facts.memory = *memory;
    facts.uptime_seconds = static_cast<double>(SystemClock().monotonic_ns()) / 1e9;
    facts.is_root = ::geteuid() == 0;
    facts.clock_synchronized = clock_synchronized();
    facts.resolvers = parse_resolvers(read_or_empty("/etc/resolv.conf"));
}

void read_network(HostFacts& facts) {
    facts.has_tun = Descriptor(::open("/dev/net/tun", O_RDWR | O_CLOEXEC)).is_open();
    const std::string forwards = read_or_empty("/proc/sys/net/ipv4/ip_forward");
    if (!forwards.empty()) facts.forwards_ipv4 = forwards[0] == '1';
    facts.ports_in_use =
        parse_listening(read_or_empty("/proc/net/tcp") + read_or_empty("/proc/net/tcp6"));
}

void read_space(HostFacts& facts, const FactsOptions& options) {
    if (const auto space = space_of(options.root); space.ok()) {
        facts.state_free_bytes = space->free_bytes;
        facts.state_total_bytes = space->total_bytes;
    }
    if (const auto space = space_of(options.runtime); space.ok()) {
        facts.runtime_free_bytes = space->free_bytes;
    }
}

}  // namespace

Result<Memory> read_memory() {
    TRY_ASSIGN(const std::string text, read_file("/proc/meminfo", kFileBytesMax));
    Memory memory = parse_meminfo(text);
    if (memory.total_bytes == 0) {
        return Error(ErrorCode::io, "/proc/meminfo: does not tell the memory's size");
    }
    memory.limit_bytes = own_memory_limit_bytes();
    return memory;
}

Async<HostFacts> gather_facts(FactsOptions options) {
    HostFacts facts;
    read_system(facts);
    read_network(facts);
    read_space(facts, options);
    facts.cgroup_gaps = CgroupTree::find(options.instance).missing();
    for (const char* program : kPrograms) {
        if (!find_program(program)) facts.missing_programs.emplace_back(program);
    }
    if (const auto qemu = find_program(kQemu)) {
        facts.qemu = *qemu;
        auto said = co_await run_successfully(
            {.program = *qemu, .arguments = {"--version"}, .limit = kQemuWithin});
        if (!said.ok() && said.error().code() == ErrorCode::cancelled) co_return said.take_error();
        if (said.ok()) facts.qemu_version = parse_qemu_version(*said);
    }
    if (facts.is_root) {
        auto drops = co_await forward_drops();
        if (!drops.ok() && drops.error().code() == ErrorCode::cancelled) {
            co_return drops.take_error();
        }
        if (drops.ok()) facts.forward_drops = *std::move(drops);
    }
    co_return facts;
}

}  // namespace stoa::host
