// The daemon itself, its background work and its events. Conventions: blockd.h.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/describe.h"

namespace stoa::rpc {

// The answer of what has nothing to say, and the question without parameters.
struct Nothing {
    static constexpr auto fields() { return std::tuple(); }
};

enum class TaskState : uint8_t { running, done, failed, cancelled };
constexpr std::array<std::string_view, 4> enum_names(TaskState /*type*/) {
    return {"running", "done", "failed", "cancelled"};
}

struct TaskRef {
    uint64_t task = 0;
    static constexpr auto fields() { return std::tuple(required("task", &TaskRef::task, "")); }
};

struct TaskStatus {
    uint64_t task = 0;
    std::string what;
    TaskState state = TaskState::running;
    std::string error;
    uint64_t done_bytes = 0;
    uint64_t total_bytes = 0;
    std::optional<Json> result;
    static constexpr auto fields() {
        return std::tuple(
            required("task", &TaskStatus::task, "its number, of this run of the daemon"),
            required("what", &TaskStatus::what, "method and object"),
            required("state", &TaskStatus::state, ""),
            optional("error", &TaskStatus::error, "why it failed"),
            optional("done_bytes", &TaskStatus::done_bytes, ""),
            optional("total_bytes", &TaskStatus::total_bytes, "0: not known"),
            optional("result", &TaskStatus::result, "when it is done"));
    }
};

struct TaskList {
    std::vector<TaskStatus> tasks;
    static constexpr auto fields() { return std::tuple(required("tasks", &TaskList::tasks, "")); }
};

struct ScrubResult {
    uint64_t blocks_checked = 0;
    uint64_t blocks_repaired = 0;
    uint64_t blocks_damaged = 0;
    static constexpr auto fields() {
        return std::tuple(required("blocks_checked", &ScrubResult::blocks_checked, ""),
                          required("blocks_repaired", &ScrubResult::blocks_repaired, ""),
                          required("blocks_damaged", &ScrubResult::blocks_damaged, ""));
    }
};

struct DaemonInfo {
    std::string version;
    std::string instance;
    uint64_t pid = 0;
    uint64_t started_ns = 0;
    static constexpr auto fields() {
        return std::tuple(required("version", &DaemonInfo::version, ""),
                          required("instance", &DaemonInfo::instance, "8 hexadecimal digits"),
                          required("pid", &DaemonInfo::pid, ""),
                          required("started_ns", &DaemonInfo::started_ns, ""));
    }
};

struct MethodList {
    std::vector<std::string> methods;
    static constexpr auto fields() {
        return std::tuple(required("methods", &MethodList::methods, ""));
    }
};

// Sent as the notification "event" to those who called events.subscribe.
struct Event {
    uint64_t sequence = 0;
    uint64_t time_ns = 0;
    std::string text;
    static constexpr auto fields() {
        return std::tuple(required("sequence", &Event::sequence, "gapless"),
                          required("time_ns", &Event::time_ns, ""),
                          required("text", &Event::text, "names what it befell"));
    }
};

struct Text {
    std::string text;
    static constexpr auto fields() { return std::tuple(required("text", &Text::text, "")); }
};

}  // namespace stoa::rpc
