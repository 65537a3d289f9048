// A child process of stoad: reaped by whoever made it. Inside of this folder.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "controlplane/async/async.h"
#include "controlplane/host/descriptor.h"
#include "controlplane/host/process.h"

namespace stoa::host {

struct SpawnSpec {
    std::string program{};  // absolute path
    std::vector<std::string> arguments{};
    std::vector<std::string> environment{};
    // Become 0, 1, 2 …; -1: /dev/null. Everything else is closed.
    std::vector<int> descriptors{};
    bool own_session = false;  // else a process group of its own
};

// Must be reaped before it is destroyed (CHECKed). One thread.
class Child {
public:
    // Signals are as usual in it, none blocked. Errors: not_found, denied, busy, io.
    static Result<Child> spawn(const asio::any_io_executor& executor, const SpawnSpec& spec);

    Child(Child&&) noexcept;
    Child& operator=(Child&&) = delete;
    ~Child();

    [[nodiscard]] int32_t pid() const { return pid_; }
    // SIGKILL to all of its group or session's first group.
    void kill_group() const;
    // Waits for its end, whether the caller is cancelled or not.
    asio::awaitable<ExitStatus> reap();
    // Until it has ended (true) or the caller is cancelled (false).
    asio::awaitable<bool> ended();

private:
    struct Watch;
    Child(int32_t pid, std::unique_ptr<Watch> watch);
    int32_t pid_ = 0;
    std::unique_ptr<Watch> watch_;
};

// How a process ended, from its status file: waits up to a second for its keeper to write it.
asio::awaitable<ExitStatus> find_exit_status(std::string status_path, ProcessIdentity process);

// Two ends of a pipe, close-on-exec. Errors: io.
struct Pipe {
    Descriptor reader;
    Descriptor writer;
};
Result<Pipe> make_pipe();

}  // namespace stoa::host
