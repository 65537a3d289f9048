#include "controlplane/host/cgroup.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <set>
#include <thread>

#include <fmt/format.h>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

#include "controlplane/host/cgroup_places.h"
#include "controlplane/host/files.h"

namespace stoa::host {

namespace {

constexpr size_t kFileBytesMax = size_t{4} << 20;
constexpr int kDepthMax = 8;
constexpr std::chrono::milliseconds kKillEvery{10};
constexpr std::chrono::milliseconds kKillWithin{5000};
// A group may be busy for a moment after its last process has ended.
constexpr std::chrono::milliseconds kRemoveEvery{1};
constexpr int kRemoveTries = 50;
// cpu.shares of v1 for the usual cpu.weight of v2.
constexpr uint64_t kUsualShares = 1024;
constexpr uint64_t kUsualWeight = 100;
constexpr uint64_t kWeightMax = 10'000;
constexpr uint64_t kSharesMin = 2;
constexpr uint64_t kNanosecondsPerMicrosecond = 1000;

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

std::vector<std::string> children(const std::string& directory) {
    std::vector<std::string> names;
    auto entries = list_directory(directory);
    if (!entries.ok()) return names;
    for (std::string& name : *entries) {
        struct stat there{};
        if (::lstat((directory + "/" + name).c_str(), &there) == 0 && S_ISDIR(there.st_mode)) {
            names.push_back(std::move(name));
        }
    }
    return names;
}

std::optional<uint64_t> read_number(const std::string& path) {
    const auto text = read_file(path, kFileBytesMax);
    uint64_t number = 0;
    if (!text.ok()) return std::nullopt;
    const auto [end, failed] = std::from_chars(text->data(), text->data() + text->size(), number);
    return failed == std::errc() ? std::optional(number) : std::nullopt;
}

void gather_pids(const std::string& directory, std::set<int32_t>& into, int depth) {
    const auto text = read_file(directory + "/cgroup.procs", kFileBytesMax);
    if (!text.ok()) return;
    for (const std::string_view word : split(*text, " \n")) {
        int32_t pid = 0;
        const auto [end, failed] = std::from_chars(word.data(), word.data() + word.size(), pid);
        // 0: a process that our pid namespace does not have.
        if (failed == std::errc() && pid > 0) into.insert(pid);
    }
    if (depth == 0) return;
    for (const std::string& name : children(directory)) {
        gather_pids(directory + "/" + name, into, depth - 1);
    }
}

// Errors: in_use, io.
Result<void> remove_below(const std::string& directory, int depth) {
    if (!exists(directory)) return {};
    if (depth > 0) {
        for (const std::string& name : children(directory)) {
            TRY(remove_below(directory + "/" + name, depth - 1));
        }
    }
    for (int i = 0; ::rmdir(directory.c_str()) != 0 && errno != ENOENT; ++i) {
        if (errno != EBUSY) {
            return system_error("control group " + directory + ": cannot remove", errno);
        }
        std::set<int32_t> pids;
        gather_pids(directory, pids, 0);
        if (!pids.empty() || i >= kRemoveTries) {
            return Error(ErrorCode::in_use, fmt::format("control group {}: {} processes are in it",
                                                        directory, pids.size()));
        }
        std::this_thread::sleep_for(kRemoveEvery);
    }
    return {};
}

Result<void> check_group_name(std::string_view name) {
    const bool is_plain = !name.empty() && std::ranges::all_of(name, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '_' || c == '.' || c == '/';
    });
    const auto parts = split(name, "/");
    const bool is_inside =
        std::ranges::none_of(parts, [](std::string_view part) { return part.starts_with('.'); });
    if (is_plain && is_inside && !name.starts_with('/') && !name.ends_with('/')) return {};
    return Error(ErrorCode::invalid_argument,
                 fmt::format("control group name \"{}\": only letters, digits, - _ . and / between "
                             "them",
                             name));
}

// Lets groups below `directory` have the controllers that there are; what is refused is missing.
void pass_controllers(const std::string& directory) {
    for (const char* controller : {"+memory", "+cpu", "+pids"}) {
        static_cast<void>(write_setting(directory + "/cgroup.subtree_control", controller).ok());
    }
}

// Makes BASE/NAME and its parents. `base` ends with /stoa/INSTANCE.
Result<void> make_group(const std::string& base, std::string_view name, bool is_unified) {
    const std::string top = base.substr(0, base.rfind("/stoa/"));
    std::string at = top;
    std::string rest = base.substr(top.size()) + "/" + std::string(name);
    for (const std::string_view part : split(rest, "/")) {
        if (is_unified) pass_controllers(at);
        at += '/';
        at += part;
        if (::mkdir(at.c_str(), 0755) != 0 && errno != EEXIST) {
            return system_error("control group " + at + ": cannot create", errno);
        }
    }
    return {};
}

}  // namespace

bool Cgroup::exists() const {
    return std::ranges::any_of(directories_, [](const auto& one) { return host::exists(one); });
}

std::vector<int32_t> Cgroup::pids() const {
    std::set<int32_t> found;
    for (const std::string& directory : directories_) gather_pids(directory, found, kDepthMax);
    return {found.begin(), found.end()};
}

CgroupUse Cgroup::use() const {
    CgroupUse use;
    for (const std::string& directory : directories_) {
        for (const char* name : {"/memory.current", "/memory.usage_in_bytes"}) {
            if (const auto bytes = read_number(directory + name)) use.memory_bytes = bytes;
        }
        if (const auto spent_ns = read_number(directory + "/cpuacct.usage")) use.cpu_ns = spent_ns;
        constexpr std::string_view kUsage = "usage_usec ";
        const auto stat = read_file(directory + "/cpu.stat", kFileBytesMax);
        if (!stat.ok() || !stat->starts_with(kUsage)) continue;
        uint64_t spent_us = 0;
        const auto [end, failed] =
            std::from_chars(stat->data() + kUsage.size(), stat->data() + stat->size(), spent_us);
        if (failed == std::errc()) use.cpu_ns = spent_us * kNanosecondsPerMicrosecond;
    }
    return use;
}

Result<void> Cgroup::set(const CgroupLimits& limits) const {
    if (limits.cpu_weight && (*limits.cpu_weight < 1 || *limits.cpu_weight > kWeightMax)) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("cpu weight {}: must be 1 to 10000", *limits.cpu_weight));
    }
    const auto put = [](const std::string& path, const std::string& value) -> Result<void> {
        return host::exists(path) ? write_setting(path, value) : Result<void>();
    };
    const auto or_none = [](uint64_t value, const char* none) {
        return value == 0 ? std::string(none) : std::to_string(value);
    };
    for (const std::string& directory : directories_) {
        if (limits.memory_max_bytes) {
            TRY(put(directory + "/memory.max", or_none(*limits.memory_max_bytes, "max")));
            TRY(put(directory + "/memory.limit_in_bytes", or_none(*limits.memory_max_bytes, "-1")));
        }
        if (limits.cpu_weight) {
            const uint64_t weight = *limits.cpu_weight;
            TRY(put(directory + "/cpu.weight", std::to_string(weight)));
            TRY(put(directory + "/cpu.shares",
                    std::to_string(std::max(kSharesMin, weight * kUsualShares / kUsualWeight))));
        }
        if (limits.pids_max) TRY(put(directory + "/pids.max", or_none(*limits.pids_max, "max")));
    }
    return {};
}

Result<void> Cgroup::add(int32_t pid) const {
    for (const std::string& directory : directories_) {
        TRY(write_setting(directory + "/cgroup.procs", std::to_string(pid)));
    }
    return {};
}

Async<> Cgroup::kill_all() const {
    asio::steady_timer timer(co_await asio::this_coro::executor);
    size_t left = 0;
    for (auto waited = std::chrono::milliseconds(0); waited <= kKillWithin; waited += kKillEvery) {
        const std::vector<int32_t> found = pids();
        left = found.size();
        if (left == 0) co_return Result<void>();
        for (const std::string& directory : directories_) {
            const std::string path = directory + "/cgroup.kill";
            if (host::exists(path)) static_cast<void>(write_setting(path, "1").ok());
        }
        for (const int32_t pid : found) {
            if (pid != ::getpid()) ::kill(pid, SIGKILL);
        }
        timer.expires_after(kKillEvery);
        co_await timer.async_wait(kAwait);
    }
    co_return Error(ErrorCode::timeout,
                    fmt::format("control group {}: {} processes do not end",
                                directories_.empty() ? "" : directories_.front(), left));
}

Result<void> Cgroup::remove() const {
    Result<void> result;
    for (const std::string& directory : directories_) {
        auto removed = remove_below(directory, kDepthMax);
        if (!removed.ok()) result = removed;
    }
    return result;
}

Result<Cgroup> CgroupTree::create(std::string_view name) const {
    TRY(check_group_name(name));
    for (const std::string& base : bases_) {
        const bool is_unified =
            exists(base.substr(0, base.rfind("/stoa/")) + "/cgroup.controllers");
        TRY(make_group(base, name, is_unified));
    }
    return get(name);
}

Cgroup CgroupTree::get(std::string_view name) const {
    std::vector<std::string> directories;
    if (!check_group_name(name).ok()) return Cgroup({});
    directories.reserve(bases_.size());
    for (const std::string& base : bases_) directories.push_back(fmt::format("{}/{}", base, name));
    return Cgroup(std::move(directories));
}

std::vector<std::string> CgroupTree::list(std::string_view name) const {
    std::set<std::string> names;
    for (const std::string& directory : get(name).directories()) {
        for (std::string& child : children(directory)) names.insert(std::move(child));
    }
    return {names.begin(), names.end()};
}

Result<void> CgroupTree::remove() const {
    TRY(Cgroup(bases_).remove());
    // The last instance takes "stoa" with it.
    for (const std::string& base : bases_) ::rmdir(base.substr(0, base.rfind('/')).c_str());
    return {};
}

}  // namespace stoa::host
