#include "controlplane/host/facts.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "controlplane/host/files.h"
#include "controlplane/host/launch/process_stat.h"
#include "controlplane/host/process.h"
#include "controlplane/host/test_host.h"

using namespace stoa;
using namespace stoa::host;

namespace {

HostFacts good() {
    HostFacts facts;
    facts.memory = {.total_bytes = uint64_t{16} << 30, .available_bytes = uint64_t{8} << 30};
    facts.is_root = true;
    facts.has_tun = true;
    facts.clock_synchronized = true;
    facts.resolvers = {"9.9.9.9"};
    facts.state_total_bytes = uint64_t{100} << 30;
    facts.state_free_bytes = uint64_t{50} << 30;
    facts.runtime_free_bytes = uint64_t{1} << 30;
    return facts;
}

}  // namespace

TEST(Facts, nothing_is_found_on_a_good_machine) {
    EXPECT_TRUE(find_problems(good(), {.root = "/srv/a", .runtime = "/run/stoa/1"}).empty());
}

TEST(Facts, each_lack_has_a_consequence_and_a_remedy_and_the_worst_is_first) {
    HostFacts facts = good();
    facts.missing_programs = {"dnsmasq", "qemu-system-x86_64", "ip"};
    facts.kvm = KvmProbe{.reason = "the probe guest did not end within 2 s"};
    facts.memory.limit_bytes = uint64_t{1} << 30;
    facts.state_free_bytes = 1 << 20;
    facts.has_tun = false;
    facts.cgroup_gaps = {"no control groups are mounted"};
    facts.forward_drops = {{.table = "ip filter", .chain = "FORWARD", .owner = "Docker"}};
    facts.ports_in_use = {8443};
    facts.clock_synchronized = false;
    facts.resolvers.clear();
    const auto found = find_problems(facts, {.root = "/srv/a", .ports_wanted = {8443, 80}});
    ASSERT_EQ(found.size(), 12U);
    EXPECT_TRUE(std::ranges::is_sorted(found, std::greater(), &Finding::severity));
    EXPECT_EQ(found[0].what, "qemu-system-x86_64 is not installed");
    for (const Finding& one : found) {
        EXPECT_FALSE(one.what.empty() || one.consequence.empty() || one.remedy.empty()) << one.what;
    }
    EXPECT_TRUE(std::ranges::any_of(found, [](const Finding& one) {
        return one.what == "Docker drops forwarded packets (chain FORWARD of table ip filter)";
    }));
    EXPECT_TRUE(std::ranges::any_of(
        found, [](const Finding& one) { return one.what == "TCP port 8443 is in use"; }));
}

TEST(Facts, texts_of_the_kernel_are_read) {
    const Memory memory =
        parse_meminfo("MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable: 500 kB\n");
    EXPECT_EQ(memory.total_bytes, 1'024'000U);
    EXPECT_EQ(memory.available_bytes, 512'000U);
    EXPECT_EQ(parse_meminfo("MemTotal: 99999999999999999999 kB\nMemTotal:\n").total_bytes, 0U);
    EXPECT_EQ(parse_resolvers("# x\nnameserver 1.1.1.1\nsearch a\nnameserver\t::1\nnameserver\n"),
              (std::vector<std::string>{"1.1.1.1", "::1"}));
    EXPECT_EQ(parse_distribution("ID=debian\nPRETTY_NAME=\"Debian 12\"\n"), "Debian 12");
    EXPECT_EQ(parse_distribution("PRETTY_NAME=\""), "\"");
    EXPECT_EQ(parse_qemu_version("QEMU emulator version 7.2.9 (Debian 1)\nCopyright"),
              "7.2.9 (Debian 1)");
    EXPECT_EQ(
        parse_listening("  sl  local_address rem_address   st\n"
                        "   0: 0100007F:20FB 00000000:0000 0A 00000000\n"
                        "   1: 0100007F:0050 0100007F:9999 01 00000000\n"
                        "   2: 00000000000000000000000000000000:0016 0:0 0A\n   3: x:zz y 0A"),
        (std::vector<uint16_t>{22, 8443}));
}

TEST(Facts, process_status_survives_names_with_parentheses) {
    const auto stat =
        parse_process_stat("42 (a) b ) S 7 1 1 0 -1 4 1 0 0 0 11 22 0 0 20 0 1 0 987654 1 2 3\n");
    ASSERT_TRUE(stat.ok());
    EXPECT_EQ(stat->state, 'S');
    EXPECT_EQ(stat->parent, 7);
    EXPECT_EQ(stat->cpu_ticks, 33U);
    EXPECT_EQ(stat->start_ticks, 987654U);
    for (const char* text : {"", "42 (a", "42 (a)", "42 (a) S 1", "42 (a) SS 7 1 1"}) {
        EXPECT_EQ(parse_process_stat(text).error().code(), ErrorCode::corrupt) << text;
    }
    EXPECT_TRUE(identify(::getpid()).ok());
    EXPECT_EQ(identify(2'000'000'000).error().code(), ErrorCode::not_found);
}

TEST(Facts, this_machine_is_described) {
    asio::io_context loop;
    const auto facts = run(loop, gather_facts({.root = "/tmp", .instance = "1a2b3c4d"}));
    ASSERT_TRUE(facts.ok());
    EXPECT_EQ(facts->boot_id.size(), 36U);
    EXPECT_FALSE(facts->kernel.empty());
    EXPECT_GE(facts->cpus, 1U);
    EXPECT_GT(facts->memory.total_bytes, facts->memory.available_bytes);
    EXPECT_GT(facts->uptime_seconds, 0);
    EXPECT_GT(facts->state_total_bytes, 0U);
    EXPECT_EQ(facts->qemu.empty(), facts->qemu_version.empty());
}

TEST(KvmProbe, a_missing_device_and_helper_are_reasons) {
    asio::io_context loop;
    auto probe = run(loop, probe_kvm({.helper = "/bin/true", .device = "/dev/no-kvm"}));
    ASSERT_TRUE(probe.ok());
    EXPECT_FALSE(probe->usable);
    EXPECT_TRUE(probe->reason.contains("does not exist"));
    probe = run(loop, probe_kvm({.helper = "/nonexistent", .device = "/dev/null"}));
    EXPECT_TRUE(probe->reason.contains("could not be run"));
    probe = run(loop, probe_kvm({.helper = "/bin/true", .device = "/dev/null"}));
    EXPECT_TRUE(probe->reason.contains("without a measurement")) << probe->reason;
}

// Helpers of a script each stand for machines.
TEST(KvmProbe, speed_decides_and_is_remembered_for_this_boot_kernel_and_qemu) {
    TestDirectory directory;
    asio::io_context loop;
    const auto with = [&](const std::string& script, const std::string& kernel) {
        const std::string helper = directory.file("helper");
        EXPECT_TRUE(replace_file(helper, "#!/bin/sh\n" + script + "\n", {.mode = 0700}).ok());
        return *run(loop, probe_kvm({.helper = helper,
                                     .cache = directory.file("cache"),
                                     .boot_id = "b",
                                     .kernel = kernel,
                                     .qemu_version = "7",
                                     .limit = std::chrono::milliseconds(500),
                                     .device = "/dev/null"}));
    };
    const std::string fast = "echo '{\"operations\": 400000000, \"nanoseconds\": 100000000}'";
    const std::string slow = "echo '{\"operations\": 20000, \"nanoseconds\": 40000000}'";
    EXPECT_TRUE(with(fast, "1").usable);
    EXPECT_TRUE(with(slow, "1").usable) << "remembered";
    const KvmProbe emulated = with(slow, "2");
    EXPECT_FALSE(emulated.usable);
    EXPECT_DOUBLE_EQ(emulated.operations_per_second, 500'000);
    EXPECT_TRUE(emulated.reason.contains("emulates")) << emulated.reason;
    EXPECT_TRUE(with("exec sleep 100", "3").reason.contains("did not end within 0.5 s"));
    EXPECT_EQ(with("echo '{\"error\": \"cannot do\"}'; exit 1", "4").reason, "cannot do");
    EXPECT_FALSE(with("echo '{\"operations\": 1, \"nanoseconds\": -1}'", "5").usable);
    ASSERT_TRUE(replace_file(directory.file("cache"), "damaged").ok());
    EXPECT_TRUE(with(fast, "5").usable);
}
