// From facts to findings: what a machine lacks, what follows, what to do. Pure; see facts.h.
// Test: facts_test.cc.
#include <algorithm>
#include <array>
#include <iterator>

#include <fmt/format.h>

#include "controlplane/host/facts.h"

namespace stoa::host {

namespace {

constexpr uint64_t kMemoryLowBytes = uint64_t{2} << 30;
constexpr uint64_t kSpaceErrorBytes = uint64_t{100} << 20;
constexpr uint64_t kSpaceWarningBytes = uint64_t{1} << 30;
constexpr uint64_t kRuntimeWarningBytes = uint64_t{64} << 20;

std::string mebibytes(uint64_t bytes) { return fmt::format("{} MiB", bytes >> 20); }

struct Program {
    std::string_view name;
    Severity severity;
    std::string_view consequence;
    std::string_view package;
};
constexpr std::array kPrograms = {
    Program{"qemu-system-x86_64", Severity::error, "no VM can be started", "qemu-system-x86"},
    Program{"qemu-img", Severity::warning, "images cannot be looked at", "qemu-utils"},
    Program{"dnsmasq", Severity::warning, "NAT networks have neither DHCP nor names",
            "dnsmasq-base"},
    Program{"nft", Severity::warning, "NAT networks and port forwards cannot be made", "nftables"},
    Program{"ip", Severity::info, "support bundles lack the state of the network", "iproute2"},
};

class Check {
public:
    Check(const HostFacts& facts, const FactsOptions& options) : facts_(facts), options_(options) {}

    std::vector<Finding> run() {
        programs();
        accelerator();
        memory();
        space();
        rights();
        firewalls();
        ports();
        surroundings();
        std::vector<Finding> sorted;
        for (const Severity severity : {Severity::error, Severity::warning, Severity::info}) {
            std::ranges::copy_if(
                found_, std::back_inserter(sorted),
                [severity](const Finding& one) { return one.severity == severity; });
        }
        return sorted;
    }

private:
    void add(Severity severity, std::string what, std::string_view consequence,
             std::string remedy) {
        found_.push_back({.severity = severity,
                          .what = std::move(what),
                          .consequence = std::string(consequence),
                          .remedy = std::move(remedy)});
    }

    void programs() {
        for (const Program& one : kPrograms) {
            if (std::ranges::find(facts_.missing_programs, one.name) ==
                facts_.missing_programs.end()) {
                continue;
            }
            add(one.severity, fmt::format("{} is not installed", one.name), one.consequence,
                fmt::format("install it (Debian: apt install {})", one.package));
        }
    }

    void accelerator() {
        if (!facts_.kvm || facts_.kvm->usable) return;
        add(Severity::warning, "KVM is not used: " + facts_.kvm->reason,
            "guests are emulated (TCG): 10 to 30 times slower, and 200 MiB more memory each",
            "enable virtualization in the firmware, or nested virtualization in the hypervisor "
            "around this machine, and load the module kvm_intel or kvm_amd");
    }

    void memory() {
        const uint64_t usable_bytes = facts_.memory.usable_bytes();
        if (usable_bytes < kMemoryLowBytes) {
            add(Severity::warning, "only " + mebibytes(usable_bytes) + " of memory may be used",
                "few or no guests fit", "add memory, or raise the limit of the control group");
        } else if (facts_.memory.limit_bytes &&
                   *facts_.memory.limit_bytes < facts_.memory.total_bytes) {
            add(Severity::info,
                fmt::format("a control group limits this to {} of {}", mebibytes(usable_bytes),
                            mebibytes(facts_.memory.total_bytes)),
                "guests are admitted up to that limit", "raise it if that is not intended");
        }
    }

    void space() {
        if (facts_.state_total_bytes > 0 && facts_.state_free_bytes < kSpaceWarningBytes) {
            const bool is_error = facts_.state_free_bytes < kSpaceErrorBytes;
            add(is_error ? Severity::error : Severity::warning,
                fmt::format("{} has {} left", options_.root, mebibytes(facts_.state_free_bytes)),
                "when it is full, nothing can be changed; guests go on", "free some space there");
        }
        if (facts_.runtime_free_bytes < kRuntimeWarningBytes && !options_.runtime.empty()) {
            add(Severity::warning,
                fmt::format("{} has {} left", options_.runtime,
                            mebibytes(facts_.runtime_free_bytes)),
                "pools may not be opened", "free some space there, or give the tmpfs more");
        }
    }

    void rights() {
        if (!facts_.is_root) {
            add(Severity::warning, "not run as root",
                "guests share this user and are not isolated from each other; networks are "
                "user-mode only",
                "run the system service if guests do not trust each other");
        } else if (!facts_.has_tun) {
            add(Severity::warning, "/dev/net/tun cannot be opened",
                "guests have user-mode networks only", "load the module tun");
        }
        for (const std::string& gap : facts_.cgroup_gaps) {
            add(Severity::warning, gap, "a busy guest can take from the others",
                "boot with the control group controllers cpu, memory and pids");
        }
    }

    void firewalls() {
        for (const ForwardDrop& drop : facts_.forward_drops) {
            add(Severity::warning,
                fmt::format("{} drops forwarded packets (chain {} of table {})", drop.owner,
                            drop.chain, drop.table),
                "guests of NAT and bridged networks may not reach the world",
                drop.owner == "Docker"
                    ? "accept Stoa's links in the chain DOCKER-USER: iptables -I DOCKER-USER -i "
                      "'st+' -j ACCEPT, and the same with -o"
                : drop.owner == "firewalld"
                    ? "put Stoa's bridges into a zone that forwards: firewall-cmd --permanent "
                      "--zone=trusted --add-interface=BRIDGE"
                    : "let it accept packets from and to links whose names begin with \"st\"");
        }
    }

    void ports() {
        for (const uint16_t port : options_.ports_wanted) {
            if (std::ranges::find(facts_.ports_in_use, port) == facts_.ports_in_use.end()) continue;
            add(Severity::warning, fmt::format("TCP port {} is in use", port),
                "what was to listen there cannot", "stop the other program or choose another port");
        }
    }

    void surroundings() {
        if (facts_.clock_synchronized == false) {
            add(Severity::warning, "the clock is not synchronized",
                "certificates and schedules may fail when it is corrected",
                "run chrony or systemd-timesyncd");
        }
        if (facts_.resolvers.empty()) {
            add(Severity::warning, "/etc/resolv.conf names no DNS server",
                "images cannot be fetched by name, and guests resolve nothing", "name one there");
        }
    }

    const HostFacts& facts_;
    const FactsOptions& options_;
    std::vector<Finding> found_;
};

}  // namespace

std::vector<Finding> find_problems(const HostFacts& facts, const FactsOptions& options) {
    return Check(facts, options).run();
}

}  // namespace stoa::host
