// Every variation of the command line, given to the real QEMU: it starts, and it is what we think.
#include <fstream>

#include <fmt/format.h>

#include "controlplane/qemu/guest_test.h"

namespace stoa::qemu {
namespace {

using model::DiskBus;
using model::DiskMedia;

class ArgumentsQemuTest : public LoopTest {
protected:
    DiskArgument disk(std::string name, DiskBus bus = DiskBus::virtio,
                      DiskMedia media = DiskMedia::disk) {
        return {.name = std::move(name),
                .socket = directory_.file("nbd,socket"),  // a comma that must be no option
                .export_name = std::to_string(disks_++),
                .bus = bus,
                .media = media};
    }
    static NicArgument nic(std::string name, model::NicModel kind = model::NicModel::virtio) {
        static int count = 0;
        NicArgument nic;
        nic.name = std::move(name);
        nic.model = kind;
        nic.mac = fmt::format("52:54:00:00:00:{:02x}", ++count);
        return nic;
    }
    AsyncVoid start_it(MachineArguments machine);
    void start(MachineArguments machine) { run(start_it(std::move(machine))); }
    MachineArguments machine() { return test_machine(directory_); }

    TestDirectory directory_;
    size_t disks_ = 0;
};

AsyncVoid check_guest(TestGuest& guest) {
    const auto state = co_await query_status(guest.qmp());
    EXPECT_TRUE(state.ok() && *state == RunState::prelaunch);
    const auto uuid = co_await query_uuid(guest.qmp());
    EXPECT_TRUE(uuid.ok() && *uuid == guest.machine().id.to_string());
    const auto threads = co_await query_cpu_threads(guest.qmp());
    EXPECT_TRUE(threads.ok() && threads->size() == guest.machine().cpus);
    const auto disks = co_await query_disks(guest.qmp());
    EXPECT_TRUE(disks.ok() && disks->size() == guest.machine().disks.size());
    const Result<void> ended = co_await quit(guest.qmp());
    EXPECT_TRUE(ended.ok()) << ended.error().message();
}

AsyncVoid ArgumentsQemuTest::start_it(MachineArguments machine) {
    const auto executor = loop_.get_executor();
    std::unique_ptr<TestProcess> server;
    if (!machine.disks.empty()) {
        const std::string& socket = machine.disks.front().socket;
        server = serve_disks(executor, directory_, directory_.file("nbd,,socket"),
                             machine.disks.size(), 1 << 20);
        // Its socket's name has one comma, which that program wants doubled.
        for (int i = 0; i < 500 && !std::filesystem::exists(socket); ++i) {
            co_await pause(milliseconds(10));
        }
    }
    const auto guest = co_await TestGuest::start(std::move(machine));
    if (guest.ok()) {
        co_await check_guest(**guest);
        co_await (*guest)->close();
    }
    if (server) co_await server->close();
}

TEST_F(ArgumentsQemuTest, a_bare_machine) { start(machine()); }

TEST_F(ArgumentsQemuTest, all_buses_of_q35_and_names_of_any_length) {
    MachineArguments all = machine();
    all.cpus = 2;
    all.cpus_max = 4;
    all.memory_bytes_max = uint64_t{1} << 30;
    all.has_screen = true;
    all.disks = {disk("root"),
                 disk("a-very-long-name-for-a-disk-that-has-sixty-three-characters-0"),
                 disk("virtio-cd", DiskBus::virtio, DiskMedia::cdrom),
                 disk("scsi-disk", DiskBus::scsi),
                 disk("scsi-cd", DiskBus::scsi, DiskMedia::cdrom),
                 disk("sata-cd", DiskBus::sata, DiskMedia::cdrom)};
    for (int i = 0; i < 7; ++i)
        all.disks.push_back(disk("sata-" + std::to_string(i), DiskBus::sata));
    all.disks[0].boot_index = 2;
    all.disks[1].read_only = true;
    all.disks[5].boot_index = 1;
    all.nics = {nic("lan"), nic("old", model::NicModel::e1000)};
    all.nics[0].boot_index = 3;
    start(std::move(all));
}

TEST_F(ArgumentsQemuTest, ide_and_sata_of_i440fx) {
    MachineArguments old = machine();
    old.machine_type = "pc-i440fx-7.2";
    old.disks = {disk("a", DiskBus::ide),
                 disk("b", DiskBus::ide),
                 disk("cd", DiskBus::ide, DiskMedia::cdrom),
                 disk("c", DiskBus::sata),
                 disk("d", DiskBus::scsi),
                 disk("e")};
    old.nics = {nic("lan"), nic("old", model::NicModel::e1000)};
    start(std::move(old));
}

TEST_F(ArgumentsQemuTest, as_many_devices_as_a_machine_may_have) {
    MachineArguments full = machine();
    for (size_t i = 0; i < model::kDisksMax; ++i)
        full.disks.push_back(disk("d" + std::to_string(i)));
    for (size_t i = 0; i < model::kNicsMax; ++i) {
        full.nics.push_back(nic("n" + std::to_string(i)));
    }
    full.spare_ports = 64;
    start(std::move(full));
}

TEST_F(ArgumentsQemuTest, uefi_with_variables_of_its_own) {
    MachineArguments uefi = machine();
    uefi.firmware = model::Firmware::uefi;
    uefi.uefi_code = "/usr/share/OVMF/OVMF_CODE_4M.fd";
    uefi.uefi_variables = directory_.file("vars, and a comma.fd");
    std::filesystem::copy_file("/usr/share/OVMF/OVMF_VARS_4M.fd", uefi.uefi_variables);
    start(std::move(uefi));
}

TEST_F(ArgumentsQemuTest, a_kernel_with_any_command_line_and_forwarded_ports) {
    MachineArguments direct = machine();
    const std::string kernel = directory_.file("kernel,smp=2");
    // Whether it is a kernel is seen when the machine is made: the header of an empty one.
    std::string image(65536, '\0');
    image.replace(0x1FE, 2, "\x55\xAA", 2);
    image.replace(0x202, 4, "HdrS", 4);
    image.replace(0x206, 2, "\x0F\x02", 2);
    image.replace(0x22C, 4, "\xFF\xFF\xFF\x7F", 4);  // where an initrd may end
    std::ofstream(kernel) << image;
    direct.kernel = {
        {.kernel = kernel, .initrd = kernel, .command_line = "-S,a=b \"c\" ' $(d) --"}};
    direct.nics = {nic("lan")};
    direct.nics[0].forwards = {{.host_port = 41235, .guest_port = 22},
                               {.is_udp = true, .host_port = 41236, .guest_port = 53}};
    start(std::move(direct));
}

}  // namespace
}  // namespace stoa::qemu
