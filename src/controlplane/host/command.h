// Helper programs that run to their end: nft, ip, dnsmasq --test, qemu-img. Never through a shell.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/async/async.h"

namespace stoa::host {

struct CommandSpec {
    std::string program{};  // absolute path, or a name to find in PATH and the sbin directories
    std::vector<std::string> arguments{};
    std::string input{};                     // to its stdin
    std::vector<std::string>
        environment{};  // added to PATH and LC_ALL=C; nothing else is inherited
    std::chrono::milliseconds limit{10'000};
    size_t output_bytes_max = size_t{1} << 20;  // of stdout; and of stderr. What is beyond is cut
};

struct CommandResult {
    std::optional<int> code{};  // exit code, or
    std::optional<int> signal{};  // the signal that killed it
    std::string output{};
    std::string error_output{};
    bool output_cut = false;
};

// Waits until the program has ended. It is in a process group of its own with all it starts, which
// is killed when the limit is over or the caller is cancelled; it is always reaped. Its other
// descriptors are closed. Errors: not_found (no such program), denied, timeout, cancelled, io.
Async<CommandResult> run_command(CommandSpec spec);

// The same, where anything but exit code 0 is an error: io "nft: exit code 1: <first lines of
// stderr>". Returns stdout.
Async<std::string> run_successfully(CommandSpec spec);

// Absolute path of a program in PATH or /usr/sbin, /sbin, /usr/local/sbin; nothing if missing.
[[nodiscard]] std::optional<std::string> find_program(const std::string& name);

}  // namespace stoa::host
