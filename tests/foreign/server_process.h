// For tests: a server of another project as a process of its own, which may be killed at any time.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "base/check.h"

namespace stoa::foreigntest {

class ServerProcess {
public:
    // `arguments`: the program first. It listens at `socket` in the end.
    ServerProcess(std::vector<std::string> arguments, std::string socket)
        : arguments_(std::move(arguments)), socket_(std::move(socket)) {}
    ServerProcess(const ServerProcess&) = delete;
    ServerProcess& operator=(const ServerProcess&) = delete;
    ~ServerProcess() { kill(); }

    void start() {
        CHECK(pid_ == 0);
        ::unlink(socket_.c_str());
        std::vector<char*> argv;
        for (std::string& each : arguments_) argv.push_back(each.data());
        argv.push_back(nullptr);
        // What it says goes to a file beside its socket.
        const std::string log = socket_ + ".log";
        posix_spawn_file_actions_t actions;
        CHECK(posix_spawn_file_actions_init(&actions) == 0);
        CHECK(posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, log.c_str(),
                                               O_WRONLY | O_CREAT | O_APPEND, 0600) == 0);
        const int failed = posix_spawnp(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
        posix_spawn_file_actions_destroy(&actions);
        CHECK(failed == 0);
    }
    // SIGKILL: nothing is said to anybody.
    void kill() {
        if (pid_ == 0) return;
        ::kill(pid_, SIGKILL);
        CHECK(waitpid(pid_, nullptr, 0) == pid_);
        pid_ = 0;
    }
    // False: it has ended, or does not listen within `seconds`.
    bool wait_until_it_listens(int seconds = 20) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        CHECK(socket_.size() < sizeof address.sun_path);
        socket_.copy(address.sun_path, socket_.size());
        for (int i = 0; i < seconds * 100; ++i) {
            const int file = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
            const int connected =
                ::connect(file, reinterpret_cast<const sockaddr*>(&address), sizeof address);
            ::close(file);
            if (connected == 0) return true;
            if (waitpid(pid_, nullptr, WNOHANG) == pid_) {
                pid_ = 0;
                return false;
            }
            ::usleep(10'000);
        }
        return false;
    }

private:
    std::vector<std::string> arguments_;
    const std::string socket_;
    pid_t pid_ = 0;
};

}  // namespace stoa::foreigntest
