// Which hierarchies of control groups can be used, and where in them; see cgroup.h. With trees of
// plain files in cgroup_test.cc.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

#include "controlplane/host/cgroup.h"
#include "controlplane/host/cgroup_places.h"
#include "controlplane/host/files.h"

namespace stoa::host {

namespace {

constexpr size_t kFileBytesMax = size_t{4} << 20;
// v1 says "no limit" with a number near 2^63.
constexpr uint64_t kUnlimitedBytes = uint64_t{1} << 60;

std::vector<Hierarchy> hierarchies(const CgroupPlace& place) {
    const auto mounts = read_file(place.mounts, kFileBytesMax);
    const auto own = read_file(place.own, kFileBytesMax);
    if (!mounts.ok() || !own.ok()) return {};
    return find_hierarchies(*mounts, *own);
}

bool is_writable(const std::string& directory) { return ::access(directory.c_str(), W_OK) == 0; }

bool has_word(const std::string& path, std::string_view word) {
    const auto text = read_file(path, kFileBytesMax);
    if (!text.ok()) return false;
    const auto words = split(*text, " \n");
    return std::ranges::find(words, word) != words.end();
}

std::optional<uint64_t> read_limit(const std::string& path) {
    const auto text = read_file(path, kFileBytesMax);
    uint64_t bytes = 0;
    if (!text.ok()) return std::nullopt;
    const auto [end, failed] = std::from_chars(text->data(), text->data() + text->size(), bytes);
    if (failed != std::errc() || bytes >= kUnlimitedBytes) return std::nullopt;
    return bytes;
}

// Of our group and those above it, as far as we see them.
std::optional<uint64_t> memory_limit(const Hierarchy& where) {
    const std::string name = where.is_unified ? "/memory.max" : "/memory.limit_in_bytes";
    std::optional<uint64_t> least;
    for (std::string at = where.own; at.size() >= where.mount.size() && !at.empty();
         at.resize(at.rfind('/'))) {
        const auto limit = read_limit(at + name);
        if (limit && (!least || *limit < *least)) least = limit;
        if (at == where.mount || !at.contains('/')) break;
    }
    return least;
}

}  // namespace

class CgroupFinder {
public:
    CgroupFinder(std::string_view instance, const CgroupPlace& place)
        : suffix_(fmt::format("/stoa/{}", instance)), found_(hierarchies(place)) {}

    CgroupTree find() {
        const auto v1 = std::ranges::find_if(found_, [](const Hierarchy& one) {
            return !one.is_unified &&
                   (one.controllers.contains("memory") || one.controllers.contains("cpu"));
        });
        tree_.is_unified_ = v1 == found_.end();
        for (const Hierarchy& one : found_) {
            if (one.is_unified) {
                add_unified(one);
            } else {
                add_v1(one);
            }
        }
        if (tree_.bases_.empty()) {
            tree_.missing_.emplace_back(
                found_.empty() ? "no control groups are mounted"
                               : "control groups cannot be made by this user (run as root, or have "
                                 "systemd delegate: Delegate=yes)");
        } else {
            note(tree_.has_memory_, "memory", "memory of guests cannot be limited or measured");
            note(tree_.has_cpu_, "cpu", "guests cannot be weighted against each other");
            note(tree_.has_pids_, "pids", "processes of guests cannot be counted or limited");
        }
        return std::move(tree_);
    }

private:
    void note(bool is_there, std::string_view controller, std::string_view consequence) {
        if (is_there) return;
        tree_.missing_.push_back(
            fmt::format("no control group controller \"{}\": {}", controller, consequence));
    }

    void add_v1(const Hierarchy& one) {
        constexpr std::array kWanted = {"memory", "cpu", "cpuacct", "pids"};
        const bool is_wanted = std::ranges::any_of(
            kWanted, [&](const char* name) { return one.controllers.contains(name); });
        if (!is_wanted) return;
        // A limit around us must hold for guests too; else a place that does not depend on where we
        // were started, so that the next stoad finds it again.
        const bool is_limited = one.controllers.contains("memory") && memory_limit(one);
        const std::string& base = is_limited ? one.own : one.mount;
        if (!is_writable(base)) return;
        tree_.bases_.push_back(base + suffix_);
        tree_.has_memory_ = tree_.has_memory_ || one.controllers.contains("memory");
        tree_.has_cpu_ = tree_.has_cpu_ || one.controllers.contains("cpu");
        tree_.has_pids_ = tree_.has_pids_ || one.controllers.contains("pids");
    }

    void add_unified(const Hierarchy& one) {
        std::string base = one.mount;
        if (!is_writable(base)) base = one.own;  // delegated to us, perhaps
        if (!is_writable(base) || !is_writable(base + "/cgroup.procs")) return;
        tree_.bases_.push_back(base + suffix_);
        if (!tree_.is_unified_) return;
        tree_.has_memory_ = can_control(base, "memory");
        tree_.has_cpu_ = can_control(base, "cpu");
        tree_.has_pids_ = can_control(base, "pids");
    }

    // Groups with processes in them give no controllers to those below, but for the root.
    static bool can_control(const std::string& base, std::string_view controller) {
        if (!has_word(base + "/cgroup.controllers", controller)) return false;
        if (has_word(base + "/cgroup.subtree_control", controller)) return true;
        const bool is_root = ::access((base + "/cgroup.events").c_str(), F_OK) != 0;
        return is_root && is_writable(base + "/cgroup.subtree_control");
    }

    std::string suffix_;
    std::vector<Hierarchy> found_;
    CgroupTree tree_;
};

CgroupTree CgroupTree::find(std::string_view instance, const CgroupPlace& place) {
    return CgroupFinder(instance, place).find();
}

std::optional<uint64_t> own_memory_limit_bytes(const CgroupPlace& place) {
    for (const Hierarchy& one : hierarchies(place)) {
        if (!one.is_unified && !one.controllers.contains("memory")) continue;
        if (const auto limit = memory_limit(one)) return limit;
    }
    return std::nullopt;
}

}  // namespace stoa::host
