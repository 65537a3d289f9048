// What specs are accepted, and which field a refusal names.
#include <gtest/gtest.h>

#include "controlplane/model/checks.h"
#include "controlplane/model/network.h"
#include "controlplane/model/storage.h"
#include "controlplane/model/vm.h"

namespace stoa::model {
namespace {

Uuid numbered(uint64_t number) { return Uuid::from_random(number, number); }

VmDisk disk(const std::string& name, uint64_t volume) {
    VmDisk made;
    made.name = name;
    made.volume = numbered(volume);
    return made;
}

VmSpec good_vm() {
    VmSpec spec;
    spec.disks = {disk("root", 1), disk("data", 2)};
    spec.nics.resize(1);
    spec.nics[0].name = "lan";
    spec.nics[0].network = numbered(3);
    spec.boot_order = {"root", "lan"};
    return spec;
}

template <class Spec>
std::string refusal(const Spec& spec) {
    const Result<void> checked = check(spec);
    if (checked.ok()) return "accepted";
    EXPECT_EQ(checked.error().code(), ErrorCode::invalid_argument);
    return checked.error().message();
}
template <class Spec, class Change>
std::string refusal(Spec spec, const Change& change) {
    change(spec);
    return refusal(spec);
}
void expect_field(const std::string& message, std::string_view field) {
    EXPECT_TRUE(message.starts_with(std::string(field) + ": ")) << message;
}

TEST(VmSpec, a_usual_one_is_accepted) {
    EXPECT_EQ(refusal(good_vm()), "accepted");
    EXPECT_EQ(refusal(VmSpec{}), "accepted");
    EXPECT_EQ(refusal(good_vm(),
                      [](VmSpec& s) {
                          s.nics[0].mac = "52:54:00:12:34:56";
                          s.nics[0].address = "10.7.0.2";
                          s.direct_boot = {numbered(9), "console=ttyS0"};
                      }),
              "accepted");
}

TEST(VmSpec, a_refusal_names_the_field) {
    const VmSpec vm = good_vm();
    expect_field(refusal(vm, [](VmSpec& s) { s.cpus = 0; }), "spec.cpus");
    expect_field(refusal(vm, [](VmSpec& s) { s.cpus = 256; }), "spec.cpus");
    expect_field(refusal(vm, [](VmSpec& s) { s.memory_bytes = kMemoryBytesMin - 1; }),
                 "spec.memory_bytes");
    expect_field(refusal(vm, [](VmSpec& s) { s.memory_bytes += 4096; }), "spec.memory_bytes");
    expect_field(refusal(vm, [](VmSpec& s) { s.memory_bytes = ~uint64_t{0}; }),
                 "spec.memory_bytes");
    expect_field(refusal(vm, [](VmSpec& s) { s.disks[1].name = "root"; }), "spec.disks[1].name");
    expect_field(refusal(vm, [](VmSpec& s) { s.disks[1].name = "../x"; }), "spec.disks[1].name");
    expect_field(refusal(vm, [](VmSpec& s) { s.disks[1].name = "a-name-of-21-bytes-aa"; }),
                 "spec.disks[1].name");
    expect_field(refusal(vm, [](VmSpec& s) { s.disks[1].volume = numbered(1); }),
                 "spec.disks[1].volume");
    expect_field(refusal(vm, [](VmSpec& s) { s.disks[0].volume = {}; }), "spec.disks[0].volume");
    expect_field(refusal(vm, [](VmSpec& s) { s.disks.resize(kDisksMax + 1); }), "spec.disks");
    expect_field(refusal(vm, [](VmSpec& s) { s.nics[0].name = "root"; }), "spec.nics[0].name");
    expect_field(refusal(vm, [](VmSpec& s) { s.nics[0].address = "10.7.0.256"; }),
                 "spec.nics[0].address");
    expect_field(refusal(vm, [](VmSpec& s) { s.boot_order = {"root", "none"}; }),
                 "spec.boot_order[1]");
    expect_field(refusal(vm, [](VmSpec& s) { s.boot_order = {"root", "root"}; }),
                 "spec.boot_order[1]");
    expect_field(refusal(vm, [](VmSpec& s) { s.direct_boot = {numbered(9), "a\nb"}; }),
                 "spec.direct_boot.command_line");
    expect_field(refusal(vm, [](VmSpec& s) { s.restart.window_seconds = 0; }),
                 "spec.restart.window_seconds");
}

TEST(VmSpec, a_volume_may_be_there_again_read_only) {
    EXPECT_EQ(refusal(good_vm(),
                      [](VmSpec& s) {
                          s.disks[1].volume = numbered(1);
                          s.disks[1].read_only = true;
                      }),
              "accepted");
}

TEST(VmSpec, the_buses_have_their_limits) {
    VmSpec spec;
    for (uint64_t i = 0; i < 5; ++i) {
        spec.disks.push_back(disk("d" + std::to_string(i), i + 1));
        spec.disks.back().bus = DiskBus::ide;
    }
    expect_field(refusal(spec), "spec.disks[4].bus");
    for (VmDisk& disk : spec.disks) disk.bus = DiskBus::sata;
    EXPECT_EQ(refusal(spec), "accepted");
}

TEST(VmSpec, hardware_addresses_are_unicast_and_lower_case) {
    for (const char* mac :
         {"53:54:00:12:34:56", "52:54:00:12:34:5G", "52:54:00:12:34", "00:00:00:00:00:00",
          "52:54:00:12:34:56:78", "52-54-00-12-34-56", "52:54:00:AB:34:56"}) {
        expect_field(refusal(good_vm(), [&](VmSpec& s) { s.nics[0].mac = mac; }),
                     "spec.nics[0].mac");
    }
}

TEST(VmSpec, what_counts_only_from_the_next_start_is_told) {
    const VmSpec running = good_vm();
    VmSpec wanted = running;
    EXPECT_TRUE(pending_changes(running, wanted).empty());
    wanted.is_protected = true;
    wanted.start_order = 7;
    wanted.power = Power::on;
    wanted.disks[0].shared_fate = false;
    EXPECT_TRUE(pending_changes(running, wanted).empty());
    wanted.cpus = 4;
    wanted.memory_bytes = 3 * (uint64_t{1} << 29);
    wanted.firmware = Firmware::uefi;
    wanted.boot_order.clear();
    wanted.direct_boot = {numbered(9), "quiet"};
    wanted.disks[0].bus = DiskBus::scsi;
    wanted.disks[1].name = "more";
    wanted.nics.clear();
    const std::vector<std::string> expected{
        "cpus: 1 -> 4",
        "memory_bytes: 1 GiB -> 1536 MiB",
        "firmware: bios -> uefi",
        "boot_order: root lan -> disks",
        "direct_boot: none -> image " + numbered(9).to_string() + " \"quiet\"",
        "disks: root changed",
        "disks: data removed",
        "disks: more added",
        "nics: lan removed"};
    EXPECT_EQ(pending_changes(running, wanted), expected);
}

TEST(VmState, its_words_never_move) {
    EXPECT_EQ(to_json(VmState::off), Json("off"));
    EXPECT_EQ(to_json(VmState::deleted), Json("deleted"));
    EXPECT_EQ(to_json(VmState::creating), Json("creating"));
}

NetworkSpec nat(const std::string& subnet, const std::string& domain = "stoa") {
    NetworkSpec spec;
    spec.subnet = subnet;
    spec.domain = domain;
    return spec;
}
NetworkSpec bridge(const std::string& name) {
    NetworkSpec spec;
    spec.mode = NetworkMode::bridge;
    spec.bridge = name;
    return spec;
}
PoolSpec pool(std::vector<std::string> devices) {
    PoolSpec spec;
    spec.devices = std::move(devices);
    return spec;
}
VolumeSpec volume(const Uuid& in, uint64_t size_bytes) {
    VolumeSpec spec;
    spec.pool = in;
    spec.size_bytes = size_bytes;
    return spec;
}
PortForward forward(const std::string& address, uint32_t host_port, uint32_t guest_port) {
    PortForward one;
    one.host_address = address;
    one.host_port = host_port;
    one.vm = numbered(1);
    one.guest_port = guest_port;
    return one;
}

TEST(NetworkSpec, the_modes_have_fields_of_their_own) {
    EXPECT_EQ(refusal(NetworkSpec{}), "accepted");
    EXPECT_EQ(refusal(nat("10.77.3.0/24")), "accepted");
    EXPECT_EQ(refusal(bridge("br0")), "accepted");
    for (const char* name : {"", "br0; reboot", "-br0", "..", "a-name-of-16-byt"}) {
        expect_field(refusal(bridge(name)), "spec.bridge");
    }
    expect_field(refusal(NetworkSpec{}, [](NetworkSpec& s) { s.bridge = "br0"; }), "spec.bridge");
    expect_field(refusal(bridge("br0"), [](NetworkSpec& s) { s.subnet = "10.0.0.0/24"; }),
                 "spec.subnet");
    expect_field(refusal(bridge("br0"), [](NetworkSpec& s) { s.forwards = {forward("", 80, 80)}; }),
                 "spec.forwards");
    for (const char* domain : {"", "a..b", "-x", "a b", "a.b.", "Stoa"}) {
        expect_field(refusal(nat("", domain)), "spec.domain");
    }
    EXPECT_EQ(refusal(nat("", "lab.example.org")), "accepted");
}

TEST(NetworkSpec, a_subnet_is_a_network) {
    for (const char* subnet :
         {"10.77.3.1/24", "10.77.3.0", "10.77.3.0/30", "10.0.0.0/7", "10.77.3/24", "10.77.3.0/24 ",
          "10.77.3.0/024", "0x10.0.0.0/8", "010.0.0.0/8", "fd00::/64", "10.77.3.0/"}) {
        expect_field(refusal(nat(subnet)), "spec.subnet");
    }
    EXPECT_EQ(refusal(nat("10.0.0.0/8")), "accepted");
    EXPECT_EQ(refusal(nat("192.168.7.248/29")), "accepted");
}

TEST(NetworkSpec, a_port_is_forwarded_once) {
    NetworkSpec spec;
    spec.forwards = {forward("", 8080, 80), forward("192.0.2.1", 8080, 80)};
    expect_field(refusal(spec), "spec.forwards[1].host_port");
    spec.forwards[0].host_address = "192.0.2.2";
    EXPECT_EQ(refusal(spec), "accepted");
    spec.forwards[1].guest_port = 0;
    expect_field(refusal(spec), "spec.forwards[1].guest_port");
    spec.forwards[1] = forward("nowhere", 1, 80);
    expect_field(refusal(spec), "spec.forwards[1].host_address");
}

TEST(PoolSpec, devices_are_absolute_and_there_once) {
    EXPECT_EQ(refusal(pool({"/dev/sdb", "/srv/pool.img"})), "accepted");
    expect_field(refusal(PoolSpec{}), "spec.devices");
    expect_field(refusal(pool({"/dev/sdb", "/dev/sdb"})), "spec.devices[1]");
    expect_field(refusal(pool({"pool.img"})), "spec.devices[0]");
    expect_field(refusal(pool({"/srv/a\nb"})), "spec.devices[0]");
    expect_field(refusal(pool(std::vector<std::string>(33, "/dev/sdb"))), "spec.devices");
}

TEST(VolumeSpec, sizes_are_whole_sectors) {
    EXPECT_EQ(refusal(volume(numbered(1), 512)), "accepted");
    expect_field(refusal(volume({}, 512)), "spec.pool");
    for (const uint64_t size : {uint64_t{0}, uint64_t{513}, kVolumeBytesMax + 512}) {
        expect_field(refusal(volume(numbered(1), size)), "spec.size_bytes");
    }
}

TEST(Checks, addresses_and_sizes) {
    EXPECT_TRUE(is_ipv4("0.0.0.0"));
    EXPECT_TRUE(is_ipv4("255.255.255.255"));
    for (const char* text : {"", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.", "01.2.3.4",
                             " 1.2.3.4", "1.2.3.4 ", "a.b.c.d", "+1.2.3.4"}) {
        EXPECT_FALSE(is_ipv4(text)) << text;
    }
    EXPECT_EQ(size_text(uint64_t{1} << 40), "1 TiB");
    EXPECT_EQ(size_text(1000), "1000 bytes");
    EXPECT_EQ(size_text(0), "0 bytes");
}

}  // namespace
}  // namespace stoa::model
