// TestBlockd: a real stoa-blockd with directories of its own, for tests; it can be killed.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/check.h"
#include "controlplane/records/test_store.h"

namespace stoa::storage {

class TestBlockd {
public:
    // STOA_BINARIES: where the programs are, as for tests/interop; else as CTest says.
    static std::string program() {
        if (const char* binaries = std::getenv("STOA_BINARIES"); binaries != nullptr) {
            return std::string(binaries) + "/blockd/stoa-blockd";
        }
        const char* program = std::getenv("STOA_BLOCKD");
        return program == nullptr ? std::string() : program;
    }

    TestBlockd() { start(); }
    TestBlockd(const TestBlockd&) = delete;
    TestBlockd& operator=(const TestBlockd&) = delete;
    ~TestBlockd() { kill(); }

    void start() {
        CHECK(pid_ == 0);
        const std::string program_path = program();
        const std::string root = directory_.path();
        const std::string runtime = rings_.path();
        std::array<const char*, 6> arguments{program_path.c_str(), "--root",        root.c_str(),
                                             "--runtime",          runtime.c_str(), nullptr};
        posix_spawn_file_actions_t actions;
        CHECK(posix_spawn_file_actions_init(&actions) == 0);
        const std::string log = directory_.file("log");
        for (const int output : {1, 2}) {
            CHECK(posix_spawn_file_actions_addopen(&actions, output, log.c_str(),
                                                   O_WRONLY | O_CREAT | O_APPEND, 0600) == 0);
        }
        CHECK(posix_spawn(&pid_, program_path.c_str(), &actions, nullptr,
                          const_cast<char**>(arguments.data()), environ) == 0);
        posix_spawn_file_actions_destroy(&actions);
    }
    void kill() { end(SIGKILL); }
    void pause() const { CHECK(::kill(pid_, SIGSTOP) == 0); }
    void resume() const { CHECK(::kill(pid_, SIGCONT) == 0); }

    [[nodiscard]] std::string socket_path() const {
        return directory_.file("blockd/control.socket");
    }
    [[nodiscard]] std::string file(const std::string& name) const { return directory_.file(name); }

private:
    void end(int signal_number) {
        if (pid_ == 0) return;
        ::kill(pid_, signal_number);
        int status = 0;
        waitpid(pid_, &status, 0);
        pid_ = 0;
    }

    // Quick; rings must lie on a tmpfs anyway.
    records::TestDirectory directory_{"/dev/shm"};
    records::TestDirectory rings_{"/dev/shm"};
    pid_t pid_ = 0;
};

}  // namespace stoa::storage
