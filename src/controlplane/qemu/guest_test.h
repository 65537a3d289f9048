// For tests: a real QEMU that is gone when the test is, and what it needs around it.
#pragma once

#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <stdlib.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/check.h"
#include "controlplane/async/deadline.h"
#include "controlplane/async/scope.h"
#include "controlplane/host/command.h"
#include "controlplane/host/random.h"
#include "controlplane/qemu/agent.h"
#include "controlplane/qemu/agent_commands.h"
#include "controlplane/qemu/arguments.h"
#include "controlplane/qemu/qmp.h"
#include "controlplane/qemu/qmp_commands.h"
#include "controlplane/qemu/serial_log.h"

namespace stoa::qemu {

using std::chrono::milliseconds;

inline constexpr milliseconds kTestProcessLimit{120'000};

// A new directory with a short name; removed with all it holds.
class TestDirectory {
public:
    TestDirectory() {
        std::string pattern = "/tmp/stoa-test-XXXXXX";
        CHECK(mkdtemp(pattern.data()) != nullptr);
        path_ = pattern;
    }
    TestDirectory(const TestDirectory&) = delete;
    TestDirectory& operator=(const TestDirectory&) = delete;
    ~TestDirectory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] std::string file(std::string_view name) const {
        return path_ + "/" + std::string(name);
    }

private:
    std::string path_;
};

// Runs one coroutine to its end.
class LoopTest : public ::testing::Test {
protected:
    void run(AsyncVoid task) {
        asio::co_spawn(loop_, std::move(task), [](const std::exception_ptr& left) {
            if (left) std::rethrow_exception(left);
        });
        loop_.restart();
        loop_.run();
    }
    asio::io_context loop_;
};

inline AsyncVoid pause(milliseconds time) {
    asio::steady_timer timer(co_await asio::this_coro::executor, time);
    co_await timer.async_wait(kAwait);
}

// A program that runs beside the test; killed and reaped by close().
class TestProcess {
public:
    TestProcess(const asio::any_io_executor& executor, host::CommandSpec spec) : scope_(executor) {
        scope_.spawn(keep(std::move(spec)));
    }
    AsyncVoid close() { co_await scope_.close(); }
    // How it ended, if it has.
    [[nodiscard]] const std::optional<Result<host::CommandResult>>& ended() const { return ended_; }

private:
    AsyncVoid keep(host::CommandSpec spec) { ended_ = co_await host::run_command(std::move(spec)); }
    Scope scope_;
    std::optional<Result<host::CommandResult>> ended_;
};

// A server of empty disks: exports "0", "1" … on one socket.
inline std::unique_ptr<TestProcess> serve_disks(const asio::any_io_executor& executor,
                                                const TestDirectory& directory,
                                                const std::string& socket, size_t count,
                                                uint64_t size_bytes) {
    host::CommandSpec spec;
    spec.program = "qemu-storage-daemon";
    spec.limit = kTestProcessLimit;
    spec.arguments = {"--nbd-server", "addr.type=unix,max-connections=0,addr.path=" + socket};
    for (size_t i = 0; i < count; ++i) {
        const std::string name = std::to_string(i);
        const std::string path = directory.file("disk" + name + ".raw");
        std::ofstream(path).close();
        std::filesystem::resize_file(path, size_bytes);
        spec.arguments.insert(
            spec.arguments.end(),
            {"--blockdev", "driver=file,discard=unmap,node-name=n" + name + ",filename=" + path,
             "--export",
             "type=nbd,writable=on,id=e" + name + ",node-name=n" + name + ",name=" + name});
    }
    return std::make_unique<TestProcess>(executor, std::move(spec));
}

// A machine for TCG with `directory` for its sockets and its log, 128 MiB, no screen.
inline MachineArguments test_machine(const TestDirectory& directory) {
    host::SystemRandom random;
    MachineArguments machine;
    machine.id = Uuid::from_random(random.next(), random.next());
    machine.machine_type = "pc-q35-7.2";
    machine.memory_bytes = uint64_t{128} << 20;
    machine.spare_ports = 1;
    machine.run_directory = directory.path();
    machine.serial_log = directory.file("serial.log");
    machine.has_screen = false;
    return machine;
}

// One QEMU. Call close() before it is destroyed.
class TestGuest {
public:
    // Started, its CPUs stopped, QMP connected. A failure is one of the test as well.
    static Async<std::unique_ptr<TestGuest>> start(MachineArguments machine) {
        auto command_line = arguments(machine);
        if (!command_line.ok()) {
            ADD_FAILURE() << command_line.error().message();
            co_return command_line.error();
        }
        const auto executor = co_await asio::this_coro::executor;
        auto guest = std::make_unique<TestGuest>(executor, std::move(machine), *command_line);
        auto qmp =
            co_await Qmp::connect(qmp_socket(guest->machine_.run_directory), milliseconds(10'000));
        if (!qmp.ok()) {
            std::string why = qmp.error().message();
            co_await pause(milliseconds(200));  // until it is known how it ended
            const auto& ended = guest->process_.ended();
            if (ended && ended->ok()) why += ": " + (*ended)->error_output;
            if (ended && !ended->ok()) why += ": " + ended->error().message();
            ADD_FAILURE() << why;
            co_await guest->close();
            co_return Error(ErrorCode::io, why);
        }
        guest->qmp_ = *std::move(qmp);
        co_return guest;
    }

    TestGuest(const asio::any_io_executor& executor, MachineArguments machine,
              std::vector<std::string> command_line)
        : machine_(std::move(machine)), process_(executor, command(std::move(command_line))),
          agent_(executor, agent_socket(machine_.run_directory),
                 {.random = [this] { return random_.next(); }}) {}

    Qmp& qmp() { return *qmp_; }
    Agent& agent() { return agent_; }
    [[nodiscard]] const MachineArguments& machine() const { return machine_; }
    [[nodiscard]] bool has_ended() const { return process_.ended().has_value(); }
    // What the guest has written to its serial port.
    [[nodiscard]] std::string serial() const {
        auto text = read_serial_log(machine_.serial_log);
        return text.ok() ? *std::move(text) : text.error().message();
    }
    // Lets it run until its agent answers. A failure is one of the test as well.
    Async<> boot(milliseconds limit = milliseconds(30'000)) {
        CO_TRY(co_await cont(*qmp_));
        const Result<void> answer = co_await ping(agent_, limit);
        if (!answer.ok()) ADD_FAILURE() << answer.error().message() << "\n" << serial();
        co_return answer;
    }
    // The next event of this name.
    Async<QmpEvent> event(std::string name, milliseconds limit) {
        return within(limit, name, find_event(name));
    }

    AsyncVoid close() {
        co_await agent_.close();
        if (qmp_) co_await qmp_->close();
        co_await process_.close();
    }

private:
    static host::CommandSpec command(std::vector<std::string> command_line) {
        host::CommandSpec spec;
        spec.program = "qemu-system-x86_64";
        spec.arguments = std::move(command_line);
        spec.limit = kTestProcessLimit;
        return spec;
    }
    Async<QmpEvent> find_event(std::string name) {
        for (;;) {
            CO_TRY_ASSIGN(QmpEvent event, co_await qmp_->next_event());
            if (event.name == name) co_return event;
        }
    }

    MachineArguments machine_;
    host::SystemRandom random_;
    TestProcess process_;
    std::unique_ptr<Qmp> qmp_;
    Agent agent_;
};

}  // namespace stoa::qemu
