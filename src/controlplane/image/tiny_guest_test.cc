// The tiny image is built and booted, and is a good guest.
#include <cstdlib>

#include "controlplane/image/tiny.h"
#include "controlplane/qemu/guest_test.h"

namespace stoa::image {
namespace {

using qemu::FileMode;
using qemu::LoopTest;
using qemu::RunState;
using qemu::TestDirectory;
using qemu::TestGuest;
using std::chrono::milliseconds;

// A boot takes 3 s when the machine is idle, and very much longer when it is not.
constexpr milliseconds kPatience{90'000};

// Packages are fetched once, and the image is built once, for all runs in one build directory.
std::string cache() {
    const char* given = std::getenv("STOA_TEST_CACHE");
    return given == nullptr ? std::filesystem::current_path().string() + "/build/cache" : given;
}

AsyncVoid build_image(std::string directory, std::vector<std::string>& progress) {
    TinyOptions options;
    options.directory = directory;
    options.package_directory = cache() + "/packages";
    options.scratch_directory = directory + ".scratch";
    const Result<void> built = co_await build_tiny(
        std::move(options), [&](uint64_t done, uint64_t total, std::string_view text) {
            EXPECT_LT(done, total);
            progress.emplace_back(text);
            return true;
        });
    EXPECT_TRUE(built.ok()) << built.error().message();
}

class TinyGuestTest : public LoopTest {
protected:
    qemu::MachineArguments machine() {
        qemu::MachineArguments machine = qemu::test_machine(directory_);
        const std::string image = directory_.file("image");
        machine.kernel = {{.kernel = image + "/kernel",
                           .initrd = image + "/initrd",
                           .command_line = std::string(kTinyCommandLine) + " stoa.hostname=web1"}};
        qemu::NicArgument nic;
        nic.name = "lan";
        nic.mac = "52:54:00:12:34:56";
        machine.nics = {nic};
        machine.disks = {
            {.name = "data", .socket = directory_.file("nbd.sock"), .export_name = "0"}};
        return machine;
    }
    AsyncVoid boot_and_check();
    AsyncVoid press_the_button();
    AsyncVoid check_system(TestGuest& guest);
    AsyncVoid check_exec(TestGuest& guest);
    AsyncVoid check_files(TestGuest& guest);
    AsyncVoid check_freeze(TestGuest& guest);
    AsyncVoid check_address(TestGuest& guest);
    AsyncVoid check_end(TestGuest& guest);

    TestDirectory directory_;
};

asio::awaitable<std::string> output_of(TestGuest& guest, std::string script) {
    qemu::AgentExec what;
    what.path = "sh";
    what.arguments = {"-c", std::move(script)};
    what.limit = kPatience;
    const auto result = co_await qemu::exec(guest.agent(), std::move(what));
    if (!result.ok()) co_return result.error().message();
    co_return result->output + result->error_output;
}

AsyncVoid TinyGuestTest::check_system(TestGuest& guest) {
    const auto system = co_await qemu::system_info(guest.agent());
    EXPECT_TRUE(system.ok() && system->id == "stoa-tiny");
    EXPECT_EQ(co_await output_of(guest, "hostname; ls /dev/vda; ls /dev/hwrng"),
              "web1\n/dev/vda\n/dev/hwrng\n");
    const std::string modules = co_await output_of(guest, "cut -d' ' -f1 /proc/modules");
    for (const std::string name : {"virtio_balloon", "virtio_scsi", "button", "evdev"}) {
        EXPECT_TRUE(modules.contains(name)) << modules;
    }
}

AsyncVoid TinyGuestTest::check_exec(TestGuest& guest) {
    qemu::AgentExec what;
    what.path = "sh";
    what.arguments = {"-c", "cat; echo \"$GREETING\" >&2; exit 7"};
    what.environment = {{"GREETING", "hello, 'world'"}, {"PATH", "/bin"}};
    what.input = std::string("a\0b", 3);
    what.limit = kPatience;
    const auto result = co_await qemu::exec(guest.agent(), std::move(what));
    EXPECT_TRUE(result.ok()) << result.error().message();
    if (!result.ok()) co_return;
    EXPECT_EQ(result->exit_code, 7);
    EXPECT_EQ(result->output, std::string("a\0b", 3));
    EXPECT_EQ(result->error_output, "hello, 'world'\n");
}

AsyncVoid TinyGuestTest::check_files(TestGuest& guest) {
    std::string bytes(qemu::kAgentFileChunkBytes + 12345, '\0');
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * i >> 8);
    const Result<void> pushed = co_await qemu::push(guest.agent(), "/tmp/it", bytes);
    EXPECT_TRUE(pushed.ok()) << pushed.error().message();
    const auto pulled = co_await qemu::pull(guest.agent(), "/tmp/it", bytes.size());
    EXPECT_TRUE(pulled.ok() && *pulled == bytes);
    const auto cut = co_await qemu::pull(guest.agent(), "/tmp/it", bytes.size() - 1);
    EXPECT_TRUE(!cut.ok() && cut.error().code() == ErrorCode::out_of_range);
    const auto none = co_await qemu::pull(guest.agent(), "/none", 10);
    EXPECT_TRUE(!none.ok() && none.error().message().contains("No such file")) << none.ok();
}

AsyncVoid TinyGuestTest::check_freeze(TestGuest& guest) {
    const std::string made = co_await output_of(
        guest, "mkfs.ext4 -q -L stoa-data /dev/vda && mount -t ext4 /dev/vda /mnt && echo done");
    EXPECT_EQ(made, "done\n");
    const auto frozen = co_await qemu::freeze(guest.agent(), kPatience);
    EXPECT_TRUE(frozen.ok() && *frozen == 1U);
    const auto state = co_await qemu::is_frozen(guest.agent());
    EXPECT_TRUE(state.ok() && *state);
    qemu::AgentExec what;
    what.path = "true";
    const auto refused = co_await qemu::exec(guest.agent(), std::move(what));
    EXPECT_TRUE(!refused.ok() && refused.error().code() == ErrorCode::busy);
    const auto thawed = co_await qemu::thaw(guest.agent(), kPatience);
    EXPECT_TRUE(thawed.ok() && *thawed == 1U);
    EXPECT_EQ(co_await output_of(guest, "echo kept > /mnt/it && cat /mnt/it"), "kept\n");
}

AsyncVoid TinyGuestTest::check_address(TestGuest& guest) {
    bool has_address = false;
    for (int i = 0; i < 300 && !has_address; ++i) {
        const auto interfaces = co_await qemu::network_interfaces(guest.agent());
        EXPECT_TRUE(interfaces.ok());
        if (!interfaces.ok()) co_return;
        for (const auto& card : *interfaces) {
            if (card.mac != "52:54:00:12:34:56") continue;
            for (const auto& address : card.addresses) {
                has_address |= address.address == "10.0.2.15" && address.prefix_bits == 24;
            }
        }
        co_await qemu::pause(milliseconds(100));
    }
    EXPECT_TRUE(has_address) << guest.serial();
}

AsyncVoid TinyGuestTest::check_end(TestGuest& guest) {
    const Result<void> told = co_await qemu::shutdown(guest.agent(), qemu::Shutdown::power_off);
    EXPECT_TRUE(told.ok()) << told.error().message();
    const auto event = co_await guest.event("SHUTDOWN", kPatience);
    EXPECT_TRUE(event.ok()) << event.error().message() << guest.serial();
    const auto state = co_await qemu::query_status(guest.qmp());
    EXPECT_TRUE(state.ok() && *state == RunState::shutdown);
    EXPECT_FALSE(guest.has_ended());  // it waits to be asked what happened
}

AsyncVoid TinyGuestTest::boot_and_check() {
    std::vector<std::string> progress;
    co_await build_image(directory_.file("image"), progress);
    EXPECT_EQ(progress.size(), tiny_packages().size() + 2);
    const auto server = qemu::serve_disks(loop_.get_executor(), directory_,
                                          directory_.file("nbd.sock"), 1, uint64_t{16} << 20);
    while (!std::filesystem::exists(directory_.file("nbd.sock"))) {
        co_await qemu::pause(milliseconds(5));
    }
    const auto guest = co_await TestGuest::start(machine());
    if (guest.ok()) {
        if ((co_await (*guest)->boot(kPatience)).ok()) {
            co_await check_system(**guest);
            co_await check_exec(**guest);
            co_await check_files(**guest);
            co_await check_freeze(**guest);
            co_await check_address(**guest);
            co_await check_end(**guest);
        }
        co_await (*guest)->close();
    }
    co_await server->close();
}
TEST_F(TinyGuestTest, boots_and_does_what_a_guest_should) { run(boot_and_check()); }

AsyncVoid TinyGuestTest::press_the_button() {
    std::vector<std::string> progress;
    co_await build_image(directory_.file("image"), progress);
    qemu::MachineArguments bare = machine();
    bare.disks.clear();
    bare.nics.clear();
    const auto guest = co_await TestGuest::start(std::move(bare));
    if (!guest.ok()) co_return;
    if ((co_await (*guest)->boot(kPatience)).ok()) {
        const Result<void> pressed = co_await qemu::system_powerdown((*guest)->qmp());
        EXPECT_TRUE(pressed.ok());
        const auto event = co_await (*guest)->event("SHUTDOWN", kPatience);
        EXPECT_TRUE(event.ok()) << event.error().message() << (*guest)->serial();
        EXPECT_TRUE((*guest)->serial().contains("tiny: up after"));
    }
    co_await (*guest)->close();
}
TEST_F(TinyGuestTest, heeds_the_power_button) { run(press_the_button()); }

AsyncVoid build_with_nothing(std::string directory, Error& error) {
    TinyOptions options;
    options.directory = directory + "/image";
    options.package_directory = directory + "/packages";
    options.scratch_directory = directory + "/scratch";
    options.may_download = false;
    const Result<void> built = co_await build_tiny(
        std::move(options), [](uint64_t, uint64_t, std::string_view) { return true; });
    EXPECT_FALSE(built.ok());
    if (!built.ok()) error = built.error();
    EXPECT_FALSE(std::filesystem::exists(directory + "/scratch"));
    EXPECT_FALSE(has_image_files(directory + "/image"));
}

TEST_F(TinyGuestTest, without_packages_it_says_which_are_missing_and_what_to_do) {
    Error error(ErrorCode::io, "");
    run(build_with_nothing(directory_.path(), error));
    EXPECT_EQ(error.code(), ErrorCode::not_found);
    EXPECT_TRUE(error.message().starts_with(
        "the tiny image: packages linux-image-*, busybox-static, qemu-guest-agent, "))
        << error.message();
    EXPECT_TRUE(
        error.message().ends_with("put their .deb files into " + directory_.path() + "/packages"))
        << error.message();
}

}  // namespace
}  // namespace stoa::image
