// What this machine is and has, and what it lacks: the data behind `stoa host show` and
// `stoa host check`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/describe.h"
#include "controlplane/async/async.h"
#include "controlplane/host/cgroup.h"
#include "controlplane/host/firewall.h"
#include "controlplane/host/kvm_probe.h"

namespace stoa::host {

enum class Severity : uint8_t { info, warning, error };
constexpr std::array<std::string_view, 3> enum_names(Severity) {
    return {"info", "warning", "error"};
}

struct Finding {
    Severity severity = Severity::info;
    std::string what{};         // "dnsmasq is not installed"
    std::string consequence{};  // "NAT networks cannot be started"
    std::string remedy{};       // "apt install dnsmasq-base"
    static constexpr auto fields() {
        return std::tuple(required("severity", &Finding::severity, ""),
                          required("what", &Finding::what, ""),
                          required("consequence", &Finding::consequence, ""),
                          required("remedy", &Finding::remedy, "what to do"));
    }
};

struct Memory {
    uint64_t total_bytes = 0;
    uint64_t available_bytes = 0;
    std::optional<uint64_t> limit_bytes{};  // of the own control group and those around it
    // What this control plane may use at most.
    [[nodiscard]] uint64_t usable_bytes() const;
};

struct HostFacts {
    std::string boot_id{};
    std::string kernel{};        // "6.1.0-18-amd64"
    std::string distribution{};  // "Debian GNU/Linux 12 (bookworm)"
    std::string host_name{};
    std::string qemu{};          // path of qemu-system-x86_64; empty: missing
    std::string qemu_version{};  // "7.2.9 (Debian 1:7.2+dfsg-7+deb12u5)"
    uint32_t cpus = 0;         // that this process may use
    Memory memory{};
    double uptime_seconds = 0;
    bool is_root = false;
    bool has_tun = false;       // /dev/net/tun can be opened
    std::optional<bool> clock_synchronized{};  // nothing: the kernel does not say
    std::vector<std::string> resolvers{};      // nameservers of /etc/resolv.conf
    std::vector<std::string> missing_programs{};
    std::vector<std::string> cgroup_gaps{};  // CgroupTree::missing()
    std::vector<ForwardDrop> forward_drops{};
    std::optional<bool> forwards_ipv4{};
    uint64_t state_free_bytes = 0;  // where the root lies
    uint64_t state_total_bytes = 0;
    uint64_t runtime_free_bytes = 0;
    std::vector<uint16_t> ports_in_use{};  // TCP, listening, any address
    std::optional<KvmProbe> kvm{};         // filled in by the caller
};

struct FactsOptions {
    std::string root{};
    std::string runtime{};
    std::string instance{};
    std::vector<uint16_t> ports_wanted{};  // findings name those that are taken
};

// Reads files and asks nft and QEMU; some 100 ms. Cannot fail: what cannot be found out is empty.
// Errors: cancelled.
Async<HostFacts> gather_facts(FactsOptions options);
// Pure. The worst first.
[[nodiscard]] std::vector<Finding> find_problems(const HostFacts& facts,
                                                 const FactsOptions& options);

// Parsers of /proc and /etc, all of which take any text.
[[nodiscard]] Memory parse_meminfo(std::string_view text);
[[nodiscard]] std::vector<std::string> parse_resolvers(std::string_view resolv_conf);
[[nodiscard]] std::string parse_distribution(std::string_view os_release);
[[nodiscard]] std::string parse_qemu_version(std::string_view output);
// Listening ports of /proc/net/tcp and tcp6, sorted, each once.
[[nodiscard]] std::vector<uint16_t> parse_listening(std::string_view proc_net_tcp);

// Now. Errors: io.
Result<Memory> read_memory();

}  // namespace stoa::host
