#include "controlplane/host/launch/request.h"

#include <algorithm>
#include <array>
#include <set>

#include <fmt/format.h>

namespace stoa::host {

namespace {

constexpr size_t kArgumentsMax = 4096;
constexpr size_t kPathBytesMax = 4095;
constexpr size_t kCgroupsMax = 16;
constexpr int32_t kOomAdjustMax = 1000;
constexpr uint64_t kLogBytesMin = 4096;
constexpr uint64_t kLogBytesMax = uint64_t{1} << 30;
constexpr uint32_t kNobodyAtAll = UINT32_MAX;  // means "unchanged" to setresuid(2)
constexpr std::array<std::string_view, 7> kLimits = {"nofile", "nproc", "core", "memlock",
                                                     "as",     "fsize", "stack"};

Error wrong(std::string_view what, std::string_view value, std::string_view why) {
    return {ErrorCode::invalid_argument, fmt::format("launch: {} \"{}\" {}", what, value, why)};
}

Result<void> check_text(std::string_view what, const std::string& text) {
    if (text.find('\0') == std::string::npos) return {};
    return Error(ErrorCode::invalid_argument, fmt::format("launch: {} holds a zero byte", what));
}

Result<void> check_path(std::string_view what, const std::string& path) {
    TRY(check_text(what, path));
    if (!path.starts_with('/')) return wrong(what, path, "must be an absolute path");
    if (path.size() > kPathBytesMax) return wrong(what, path.substr(0, 80), "… is too long");
    return {};
}

Result<void> check_environment(const std::vector<std::string>& environment) {
    for (const std::string& one : environment) {
        TRY(check_text("environment", one));
        const size_t name_bytes = one.find('=');
        if (name_bytes == std::string::npos || name_bytes == 0) {
            return wrong("environment", one, "must be NAME=VALUE");
        }
    }
    return {};
}

Result<void> check_descriptors(const std::vector<uint32_t>& numbers) {
    std::set<uint32_t> seen;
    for (const uint32_t number : numbers) {
        if (number < 3 || number > kPassedNumberMax || !seen.insert(number).second) {
            return Error(ErrorCode::invalid_argument,
                         fmt::format("launch: descriptor {}: each must be 3 to {} and there once",
                                     number, kPassedNumberMax));
        }
    }
    return {};
}

Result<void> check_limits(const LaunchSpec& spec) {
    for (const ResourceLimit& limit : spec.limits) {
        TRY(check_text("limit", limit.name));
        if (std::ranges::find(kLimits, limit.name) == kLimits.end()) {
            return wrong("limit", limit.name,
                         "is none of nofile, nproc, core, memlock, as, fsize, stack");
        }
        if (limit.soft > limit.hard) {
            return wrong("limit", limit.name, "has a soft value above its hard one");
        }
    }
    if (spec.oom_score_adjust &&
        (*spec.oom_score_adjust < -kOomAdjustMax || *spec.oom_score_adjust > kOomAdjustMax)) {
        return wrong("oom_score_adjust", std::to_string(*spec.oom_score_adjust),
                     "must be -1000 to 1000");
    }
    if (spec.umask > 0777) return wrong("umask", std::to_string(spec.umask), "is above 0777");
    return {};
}

Result<void> check_counts(const LaunchSpec& spec) {
    if (spec.arguments.size() > kArgumentsMax || spec.environment.size() > kArgumentsMax ||
        spec.cgroups.size() > kCgroupsMax || spec.limits.size() > kLimits.size() ||
        spec.descriptors.size() > kLaunchDescriptorsMax) {
        return Error(
            ErrorCode::invalid_argument,
            fmt::format("launch: at most {} arguments and variables, {} cgroups, {} "
                        "limits, {} descriptors",
                        kArgumentsMax, kCgroupsMax, kLimits.size(), kLaunchDescriptorsMax));
    }
    return {};
}

}  // namespace

Result<void> check_launch(const LaunchSpec& spec) {
    TRY(check_counts(spec));
    TRY(check_path("program", spec.program));
    TRY(check_path("directory", spec.directory));
    for (const std::string& argument : spec.arguments) TRY(check_text("argument", argument));
    for (const std::string& cgroup : spec.cgroups) TRY(check_path("cgroup", cgroup));
    TRY(check_environment(spec.environment));
    TRY(check_descriptors(spec.descriptors));
    TRY(check_limits(spec));
    if (spec.uid.has_value() != spec.gid.has_value()) {
        return Error(ErrorCode::invalid_argument, "launch: uid and gid belong together");
    }
    if (spec.uid == kNobodyAtAll || spec.gid == kNobodyAtAll) {
        return Error(ErrorCode::invalid_argument, "launch: uid and gid must be below 4294967295");
    }
    if (!spec.log.empty()) {
        TRY(check_path("log", spec.log));
        if (spec.log_bytes_max < kLogBytesMin || spec.log_bytes_max > kLogBytesMax) {
            return Error(
                ErrorCode::invalid_argument,
                fmt::format("launch: log_bytes_max must be {} to {}", kLogBytesMin, kLogBytesMax));
        }
    }
    if (!spec.status.empty()) TRY(check_path("status", spec.status));
    return {};
}

Result<LaunchSpec> parse_launch(std::string_view text) {
    if (text.size() > kLaunchRequestBytesMax) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("launch: more than {} bytes", kLaunchRequestBytesMax));
    }
    TRY_ASSIGN(const Json json, parse_json(text));
    LaunchSpec spec;
    TRY(from_json(json, spec, "launch"));
    TRY(check_launch(spec));
    return spec;
}

}  // namespace stoa::host
