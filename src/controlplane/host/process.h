// Processes that outlive stoad: started by the helper stoa-launch, found again by their identity.
//
// The helper starts a keeper, and the keeper the program. Keeper and program have sessions of their
// own and do not end with stoad. The keeper reads what the program writes to stdout and stderr and
// keeps the newest part in a file of limited size, waits for the program's end and writes how it
// ended into the status file: so both work while stoad is away. A killed keeper costs the log and
// the exit status, not the program. Why so: docs/decisions/010-processes.md. Kills at awkward
// moments: launch_test.cc.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/async/async.h"
#include "controlplane/host/descriptor.h"
#include "controlplane/host/launch/request.h"

namespace stoa::host {

struct ExitStatus {
    std::optional<int32_t> code{};  // neither: it ended, but nobody could say how
    std::optional<int32_t> signal{};
    // "exit code 1", "killed by signal 9 (Killed)", "ended, exit status unknown".
    [[nodiscard]] std::string to_string() const;
};

// A process that runs, or ran when the handle was made. A pidfd: signals never reach another
// process. Dropping the handle does nothing to the process. One thread.
class Process {
public:
    // The process, if it still is that one: same boot and start, and `marker` (a uuid; may be
    // empty) in its command line. `status`: the file named at its launch, or empty. Errors:
    // not_found (it is gone; exit_status_in() may know how), conflict (another process has that
    // pid), unsupported (no pidfd), denied.
    static Result<Process> adopt(asio::any_io_executor executor, const ProcessIdentity& identity,
                                 const std::string& marker, std::string status);

    Process(Process&&) noexcept;
    Process& operator=(Process&&) noexcept;
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;
    ~Process();

    [[nodiscard]] const ProcessIdentity& identity() const;
    [[nodiscard]] bool has_ended() const;
    // Until the process has ended. Several may wait. The handle must live until then.
    // Errors: cancelled.
    Async<ExitStatus> exited();
    // Errors: not_found (it has ended), denied, invalid_argument.
    Result<void> signal(int number);
    Result<void> kill();

private:
    struct State;
    explicit Process(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

struct LaunchOptions {
    std::string helper{};  // path of stoa-launch
    std::chrono::milliseconds limit{5000};
};

struct Launched {
    Process process;
    std::vector<std::string> warnings{};
};

// Starts the program; when it returns, exec has succeeded. `passed`: open descriptors, one for each
// number of spec.descriptors; they are the caller's and may be closed afterwards.
// Errors: invalid_argument (the spec), not_found and denied (program), others by errno; the message
// names the step ("launch of /usr/bin/qemu…: exec: no such file or directory"). After `timeout` or
// `cancelled` look into the status file: it may run.
Async<Launched> launch(LaunchSpec spec, std::vector<int> passed, LaunchOptions options);

// Content of a status file. Errors: not_found, corrupt.
Result<ProcessStatus> read_process_status(const std::string& path);

// Identity of a process that runs now (not a zombie). Errors: not_found.
Result<ProcessIdentity> identify(int32_t pid);
// Its command line, arguments separated by spaces, at most 4096 bytes; empty if it is gone.
[[nodiscard]] std::string command_line(int32_t pid);
// Runs of this kernel: /proc/sys/kernel/random/boot_id.
Result<std::string> boot_id();

}  // namespace stoa::host
