// What stoad and the helper stoa-launch say to each other over the Unix socket that the helper
// finds as descriptor 3: one request with the descriptors to pass, one reply. Both are a line of
// JSON ended by a zero byte. A fuzz target reads requests: request_fuzz.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/describe.h"
#include "base/result.h"

namespace stoa::host {

constexpr int kLaunchSocket = 3;
constexpr size_t kLaunchRequestBytesMax = size_t{1} << 20;
constexpr size_t kLaunchDescriptorsMax = 64;
// The number of a passed descriptor in the program: 3 to this.
constexpr uint32_t kPassedNumberMax = 255;

struct ResourceLimit {
    std::string name{};  // nofile, nproc, core, memlock, as, fsize, stack
    uint64_t soft = 0;
    uint64_t hard = 0;
    static constexpr auto fields() {
        return std::tuple(required("name", &ResourceLimit::name, ""),
                          required("soft", &ResourceLimit::soft, ""),
                          required("hard", &ResourceLimit::hard, ""));
    }
};

// How a program is started. Text is UTF-8 without zero bytes.
struct LaunchSpec {
    std::string program{};                   // absolute path
    std::vector<std::string> arguments{};  // without the program's name, which is put before them
    std::vector<std::string> environment{};  // NAME=VALUE; nothing is inherited
    std::string directory = "/";
    std::optional<uint32_t> uid{};  // only for root; then gid too. All other groups are left
    std::optional<uint32_t> gid{};
    std::vector<std::string> cgroups{};  // directories to join (Cgroup::directories())
    // The numbers in the program of the descriptors that go with the request, in their order.
    std::vector<uint32_t> descriptors{};
    std::vector<ResourceLimit> limits{};
    uint32_t umask = 077;
    std::optional<int32_t> oom_score_adjust{};  // -1000 … 1000; what is not permitted is a warning
    bool no_new_privileges = true;
    // stdout and stderr go to this file and the one before it (PATH.1), together at most
    // `log_bytes_max`. Empty: to /dev/null. Its directory exists.
    std::string log{};
    uint64_t log_bytes_max = uint64_t{1} << 20;
    // Who it is and how it ended (process_status.h); written before the program begins. May be
    // empty.
    std::string status{};
    static constexpr auto fields() {
        return std::tuple(
            required("program", &LaunchSpec::program, ""),
            required("arguments", &LaunchSpec::arguments, ""),
            optional("environment", &LaunchSpec::environment, ""),
            optional("directory", &LaunchSpec::directory, ""),
            optional("uid", &LaunchSpec::uid, ""), optional("gid", &LaunchSpec::gid, ""),
            optional("cgroups", &LaunchSpec::cgroups, ""),
            optional("descriptors", &LaunchSpec::descriptors, ""),
            optional("limits", &LaunchSpec::limits, ""), optional("umask", &LaunchSpec::umask, ""),
            optional("oom_score_adjust", &LaunchSpec::oom_score_adjust, ""),
            optional("no_new_privileges", &LaunchSpec::no_new_privileges, ""),
            optional("log", &LaunchSpec::log, ""),
            optional("log_bytes_max", &LaunchSpec::log_bytes_max, ""),
            optional("status", &LaunchSpec::status, ""));
    }
};

// Which process. Pids are used again; with its start (clock ticks since boot, field 22 of
// /proc/PID/stat) and the boot it is told from all others.
struct ProcessIdentity {
    int32_t pid = 0;
    uint64_t start_ticks = 0;
    std::string boot_id{};
    static constexpr auto fields() {
        return std::tuple(required("pid", &ProcessIdentity::pid, ""),
                          required("start_ticks", &ProcessIdentity::start_ticks, ""),
                          required("boot_id", &ProcessIdentity::boot_id, ""));
    }
    bool operator==(const ProcessIdentity&) const = default;
};

struct LaunchReply {
    std::optional<ProcessIdentity> process{};  // the program runs
    std::string step{};  // else: which step failed, and how
    int32_t error = 0;  // errno
    std::string message{};
    std::vector<std::string>
        warnings{};  // what was wanted and not permitted, and could be left out
    static constexpr auto fields() {
        return std::tuple(optional("process", &LaunchReply::process, ""),
                          optional("step", &LaunchReply::step, ""),
                          optional("error", &LaunchReply::error, ""),
                          optional("message", &LaunchReply::message, ""),
                          optional("warnings", &LaunchReply::warnings, ""));
    }
};

// The content of LaunchSpec::status.
struct ProcessStatus {
    ProcessIdentity process{};
    bool ended = false;
    std::optional<int32_t> exit_code{};
    std::optional<int32_t> signal{};  // that killed it
    int64_t ended_ns = 0;  // since 1970
    static constexpr auto fields() {
        return std::tuple(required("process", &ProcessStatus::process, ""),
                          optional("ended", &ProcessStatus::ended, ""),
                          optional("exit_code", &ProcessStatus::exit_code, ""),
                          optional("signal", &ProcessStatus::signal, ""),
                          optional("ended_ns", &ProcessStatus::ended_ns, ""));
    }
};

// What a request must keep to: sizes, absolute paths, no zero bytes, numbers in their ranges, no
// number twice. Errors: invalid_argument.
Result<void> check_launch(const LaunchSpec& spec);
// Errors: invalid_argument.
Result<LaunchSpec> parse_launch(std::string_view text);

}  // namespace stoa::host
