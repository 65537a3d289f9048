#include "controlplane/qemu/arguments.h"

#include <algorithm>
#include <functional>

#include <gtest/gtest.h>

namespace stoa::qemu {
namespace {

using model::DiskBus;
using model::DiskMedia;

Uuid some_id() { return Uuid::from_random(1, 2); }

DiskArgument disk(std::string name, DiskBus bus = DiskBus::virtio,
                  DiskMedia media = DiskMedia::disk) {
    return {.name = std::move(name),
            .socket = "/run/stoa/00c0ffee/vm/1/disk.sock",
            .export_name = "",
            .bus = bus,
            .media = media};
}

NicArgument nic(std::string name) {
    NicArgument nic;
    nic.name = std::move(name);
    nic.mac = "52:54:00:12:34:56";
    return nic;
}

MachineArguments machine() {
    MachineArguments machine;
    machine.id = some_id();
    machine.machine_type = "pc-q35-7.2";
    machine.memory_bytes = uint64_t{1} << 30;
    machine.run_directory = "/run/stoa/00c0ffee/vm/1";
    machine.spare_ports = 1;
    return machine;
}

// One option with its value a line.
std::string text_of(const MachineArguments& machine) {
    const auto list = arguments(machine);
    if (!list.ok()) return list.error().message();
    std::string text;
    for (const std::string& argument : *list) {
        const bool is_option = argument.starts_with('-');
        if (!text.empty()) text += is_option ? '\n' : ' ';
        text += argument;
    }
    return text + "\n";
}

TEST(ArgumentsTest, the_smallest_machine_is_golden) {
    MachineArguments small = machine();
    small.has_screen = false;
    small.spare_ports = 0;
    EXPECT_EQ(text_of(small), R"golden(-nodefaults
-no-user-config
-S
-uuid 00000000-0000-4001-8000-000000000002
-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
-action shutdown=pause,panic=pause,reboot=reset
-msg timestamp=on
-machine pc-q35-7.2,usb=off,dump-guest-core=off
-accel tcg,thread=multi,tb-size=32
-cpu max
-smp cpus=1,maxcpus=1,sockets=1,cores=1,threads=1
-m size=1024M
-rtc base=utc
-boot menu=off,strict=on
-display none
-chardev socket,id=qmp,server=on,wait=off,path=/run/stoa/00c0ffee/vm/1/qmp.sock
-mon chardev=qmp,mode=control
-chardev socket,id=serial,server=on,wait=off,path=/run/stoa/00c0ffee/vm/1/serial.sock
-serial chardev:serial
-chardev socket,id=agent,server=on,wait=off,path=/run/stoa/00c0ffee/vm/1/agent.sock
-device {"driver":"virtio-serial-pci","id":"channels","bus":"pcie.0","addr":"0x2"}
-device {"driver":"virtserialport","bus":"channels.0","chardev":"agent","name":"org.qemu.guest_agent.0"}
-object {"qom-type":"rng-builtin","id":"random"}
-device {"driver":"virtio-rng-pci","rng":"random","bus":"pcie.0","addr":"0x3"}
-device {"driver":"virtio-balloon-pci","id":"balloon","deflate-on-oom":true,"free-page-reporting":true,"bus":"pcie.0","addr":"0x4"}
-device {"driver":"pvpanic"}
)golden");
}

TEST(ArgumentsTest, a_machine_with_everything_is_golden) {
    MachineArguments all = machine();
    all.accelerator = Accelerator::kvm;
    all.cpus = 2;
    all.cpus_max = 4;
    all.memory_bytes_max = uint64_t{4} << 30;
    all.firmware = model::Firmware::uefi;
    all.uefi_code = "/usr/share/OVMF/OVMF_CODE_4M.fd";
    all.uefi_variables = "/srv/stoa/vars.fd";
    all.serial_log = "/srv/stoa/a, b.log";
    all.kernel = {{.kernel = "/k", .initrd = "/i", .command_line = "quiet root=/dev/vda,x"}};
    all.disks = {disk("root"), disk("cd", DiskBus::sata, DiskMedia::cdrom),
                 disk("slow", DiskBus::scsi)};
    all.disks[0].boot_index = 1;
    all.disks[2].read_only = true;
    all.nics = {nic("lan"), nic("wan")};
    all.nics[0].tap_descriptor = 11;
    all.nics[1].mac = "52:54:00:12:34:57";
    all.nics[1].boot_index = 2;
    all.nics[1].forwards = {{.host_port = 2222, .guest_port = 22}};
    EXPECT_EQ(text_of(all), R"golden(-nodefaults
-no-user-config
-S
-uuid 00000000-0000-4001-8000-000000000002
-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
-action shutdown=pause,panic=pause,reboot=reset
-msg timestamp=on
-machine pc-q35-7.2,usb=off,dump-guest-core=off
-accel kvm
-cpu host
-smp cpus=2,maxcpus=4,sockets=4,cores=1,threads=1
-m size=1024M,slots=16,maxmem=4096M
-rtc base=utc
-boot menu=off,strict=on
-display none
-blockdev {"driver":"raw","node-name":"uefi-code","read-only":true,"file":{"driver":"file","filename":"/usr/share/OVMF/OVMF_CODE_4M.fd"}}
-blockdev {"driver":"raw","node-name":"uefi-variables","read-only":false,"file":{"driver":"file","filename":"/srv/stoa/vars.fd"}}
-machine pflash0=uefi-code,pflash1=uefi-variables
-kernel /k
-initrd /i
-append quiet root=/dev/vda,x
-device {"driver":"pcie-root-port","id":"port0","chassis":1,"bus":"pcie.0","addr":"0x10.0","multifunction":true}
-device {"driver":"pcie-root-port","id":"port1","chassis":2,"bus":"pcie.0","addr":"0x10.1"}
-device {"driver":"pcie-root-port","id":"port2","chassis":3,"bus":"pcie.0","addr":"0x10.2"}
-device {"driver":"pcie-root-port","id":"port3","chassis":4,"bus":"pcie.0","addr":"0x10.3"}
-device {"driver":"pcie-root-port","id":"port4","chassis":5,"bus":"pcie.0","addr":"0x10.4"}
-device {"driver":"pcie-root-port","id":"port5","chassis":6,"bus":"pcie.0","addr":"0x10.5"}
-chardev socket,id=qmp,server=on,wait=off,path=/run/stoa/00c0ffee/vm/1/qmp.sock
-mon chardev=qmp,mode=control
-chardev socket,id=serial,server=on,wait=off,logappend=on,logfile=/srv/stoa/a,, b.log,path=/run/stoa/00c0ffee/vm/1/serial.sock
-serial chardev:serial
-chardev socket,id=agent,server=on,wait=off,path=/run/stoa/00c0ffee/vm/1/agent.sock
-device {"driver":"virtio-serial-pci","id":"channels","bus":"pcie.0","addr":"0x2"}
-device {"driver":"virtserialport","bus":"channels.0","chardev":"agent","name":"org.qemu.guest_agent.0"}
-object {"qom-type":"rng-builtin","id":"random"}
-device {"driver":"virtio-rng-pci","rng":"random","bus":"pcie.0","addr":"0x3"}
-device {"driver":"virtio-balloon-pci","id":"balloon","deflate-on-oom":true,"free-page-reporting":true,"bus":"pcie.0","addr":"0x4"}
-device {"driver":"pvpanic"}
-device {"driver":"virtio-scsi-pci","id":"scsi","bus":"pcie.0","addr":"0x5"}
-device {"driver":"VGA","id":"screen","bus":"pcie.0","addr":"0x6"}
-device {"driver":"qemu-xhci","id":"usb","bus":"pcie.0","addr":"0x7"}
-device {"driver":"usb-tablet","bus":"usb.0"}
-vnc unix:/run/stoa/00c0ffee/vm/1/vnc.sock
-blockdev {"driver":"nbd","node-name":"disk-root","server":{"type":"unix","path":"/run/stoa/00c0ffee/vm/1/disk.sock"},"export":"","reconnect-delay":3600,"read-only":false,"discard":"unmap"}
-device {"drive":"disk-root","id":"disk-root-dev","serial":"root","werror":"stop","rerror":"stop","bootindex":1,"driver":"virtio-blk-pci","bus":"port0"}
-blockdev {"driver":"nbd","node-name":"disk-cd","server":{"type":"unix","path":"/run/stoa/00c0ffee/vm/1/disk.sock"},"export":"","reconnect-delay":3600,"read-only":true,"discard":"ignore"}
-device {"drive":"disk-cd","id":"disk-cd-dev","serial":"cd","werror":"stop","rerror":"stop","driver":"ide-cd","bus":"ide.0"}
-blockdev {"driver":"nbd","node-name":"disk-slow","server":{"type":"unix","path":"/run/stoa/00c0ffee/vm/1/disk.sock"},"export":"","reconnect-delay":3600,"read-only":true,"discard":"ignore"}
-device {"drive":"disk-slow","id":"disk-slow-dev","serial":"slow","werror":"stop","rerror":"stop","driver":"scsi-hd","bus":"scsi.0","scsi-id":0}
-netdev {"id":"nic-lan","type":"tap","fd":"11","vhost":false}
-device {"driver":"virtio-net-pci","id":"nic-lan-dev","netdev":"nic-lan","mac":"52:54:00:12:34:56","romfile":"","bus":"port1"}
-netdev {"id":"nic-wan","type":"user","hostfwd":[{"str":"tcp:127.0.0.1:2222-:22"}]}
-device {"driver":"virtio-net-pci","id":"nic-wan-dev","netdev":"nic-wan","mac":"52:54:00:12:34:57","bootindex":2,"bus":"port2"}
)golden");
}

TEST(ArgumentsTest, no_argument_tells_the_name_of_the_machine_or_splits_text) {
    MachineArguments tricky = machine();
    tricky.kernel = {{.kernel = "/k", .initrd = "", .command_line = "-S --daemonize,a=b \"'$(x)"}};
    const auto list = arguments(tricky);
    ASSERT_TRUE(list.ok());
    EXPECT_EQ(std::ranges::count(*list, tricky.kernel->command_line), 1);
    EXPECT_EQ(std::ranges::count(*list, "-name"), 0);
}

TEST(ArgumentsTest, long_names_of_disks_stay_apart_within_twenty_characters) {
    EXPECT_EQ(disk_serial("twenty-characters-00"), "twenty-characters-00");
    const std::string one = disk_serial("a-long-name-of-some-disk-1");
    const std::string two = disk_serial("a-long-name-of-some-disk-2");
    EXPECT_EQ(one.size(), 20U);
    EXPECT_TRUE(one.starts_with("a-long-name-")) << one;
    EXPECT_NE(one, two);
    EXPECT_EQ(disk_device("root"), "disk-root-dev");
    EXPECT_LE(disk_device(std::string(63, 'a')).size(), 31U);
}

TEST(ArgumentsTest, the_machine_type_is_chosen_by_the_buses) {
    model::VmSpec spec;
    EXPECT_EQ(default_machine_type(spec), "pc-q35-7.2");
    spec.disks.resize(1);
    spec.disks[0].bus = DiskBus::ide;
    EXPECT_EQ(default_machine_type(spec), "pc-i440fx-7.2");
}

// What must be refused, and a word that names the culprit.
struct Bad {
    std::string culprit;
    std::function<void(MachineArguments&)> spoil;
};

TEST(ArgumentsTest, what_is_wrong_is_named) {
    const std::vector<Bad> all = {
        {"id", [](auto& m) { m.id = Uuid(); }},
        {"machine type", [](auto& m) { m.machine_type = "pc-q35-7.2,accel=kvm"; }},
        {"machine type", [](auto& m) { m.machine_type = "microvm"; }},
        {"cpu model", [](auto& m) { m.cpu_model = "max -S"; }},
        {"cpus", [](auto& m) { m.cpus = 0; }},
        {"cpus", [](auto& m) { m.cpus_max = 256; }},
        {"memory", [](auto& m) { m.memory_bytes = 1 << 20; }},
        {"memory", [](auto& m) { m.memory_bytes += 4096; }},
        {"translation cache", [](auto& m) { m.translation_mib = 0; }},
        {"run directory", [](auto& m) { m.run_directory = "/" + std::string(100, 'x'); }},
        {"run directory", [](auto& m) { m.run_directory = "run"; }},
        {"serial log", [](auto& m) { m.serial_log = "/a\nb"; }},
        {"uefi code", [](auto& m) { m.firmware = model::Firmware::uefi; }},
        {"kernel", [](auto& m) { m.kernel = KernelArgument{"vmlinuz", "", ""}; }},
        {"kernel command line", [](auto& m) { m.kernel = KernelArgument{"/k", "", "a\nb"}; }},
        {"kernel command line",
         [](auto& m) { m.kernel = KernelArgument{"/k", "", std::string(2048, 'x')}; }},
        {"disk \"A\"", [](auto& m) { m.disks = {disk("A")}; }},
        {"disk \"a,b\"", [](auto& m) { m.disks = {disk("a,b")}; }},
        {"disk \"\"", [](auto& m) { m.disks = {disk("")}; }},
        {"disk a occurs twice", [](auto& m) { m.disks = {disk("a"), disk("a")}; }},
        {"boot index 3 occurs twice",
         [](auto& m) {
             m.disks = {disk("a")};
             m.nics = {nic("b")};
             m.disks[0].boot_index = m.nics[0].boot_index = 3;
         }},
        {"no ide bus", [](auto& m) { m.disks = {disk("a", DiskBus::ide)}; }},
        {"mac", [](auto& m) { m.nics = {nic("a")}, m.nics[0].mac = "01:00:5e:00:00:01"; }},
        {"mac", [](auto& m) { m.nics = {nic("a")}, m.nics[0].mac = "52:54:00:12:34:56,x"; }},
        {"mac 52:54:00:12:34:56 occurs twice", [](auto& m) { m.nics = {nic("a"), nic("b")}; }},
        {"descriptor 1", [](auto& m) { m.nics = {nic("a")}, m.nics[0].tap_descriptor = 1; }},
        {"IPv4", [](auto& m) {
             m.nics = {nic("a")};
             m.nics[0].forwards = {{.host_address = "1.2.3.4,x", .host_port = 1, .guest_port = 1}};
         }}};
    for (const Bad& bad : all) {
        MachineArguments spoiled = machine();
        bad.spoil(spoiled);
        const auto list = arguments(spoiled);
        ASSERT_FALSE(list.ok()) << bad.culprit;
        EXPECT_TRUE(list.error().message().contains(bad.culprit)) << list.error().message();
    }
}

}  // namespace
}  // namespace stoa::qemu
