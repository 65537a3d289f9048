// Tasks: what is being done, has been done, or waits for its turn.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/describe.h"
#include "base/uuid.h"

namespace stoa::model {

// One step of a plan: which, and with what. Values only, so that it can be shown, stored, and done
// again by another process.
struct Step {
    std::string type;
    Json arguments;
    std::string text;
    static constexpr auto fields() {
        return std::tuple(required("type", &Step::type, "as in docs/tasks.md"),
                          required("arguments", &Step::arguments, ""),
                          required("text", &Step::text, "for people: what it will do"));
    }
};

enum class TaskState : uint8_t { waiting, running, undoing, done, failed, cancelled };
constexpr std::array<std::string_view, 6> enum_names(TaskState /*type*/) {
    return {"waiting", "running", "undoing", "done", "failed", "cancelled"};
}

struct TaskSpec {
    std::string verb;
    std::string target;
    std::vector<std::string> locks;
    std::string principal;
    std::vector<Step> steps;
    bool bypasses = false;
    bool cancel_wanted = false;
    std::optional<uint32_t> point_of_no_return;
    static constexpr auto fields() {
        return std::tuple(required("verb", &TaskSpec::verb, "such as vm.create"),
                          required("target", &TaskSpec::target, "KIND/ID"),
                          required("locks", &TaskSpec::locks,
                                   "KIND/ID of what nothing else may change meanwhile"),
                          required("principal", &TaskSpec::principal, "who asked"),
                          required("steps", &TaskSpec::steps, ""),
                          optional("bypasses", &TaskSpec::bypasses, "does not queue"),
                          optional("cancel_wanted", &TaskSpec::cancel_wanted, ""),
                          optional("point_of_no_return", &TaskSpec::point_of_no_return,
                                   "after so many steps it is finished, not undone"));
    }
};

// `position` steps are done; while one runs its effect may be there already. While it is undone:
// so many steps, from the first on, are still to be undone.
struct TaskStatus {
    TaskState state = TaskState::waiting;
    uint32_t position = 0;
    std::string waits_for;
    std::string error;
    std::string error_code;
    int64_t started_ns = 0;
    int64_t ended_ns = 0;
    Json result;
    static constexpr auto fields() {
        return std::tuple(
            required("state", &TaskStatus::state, ""),
            required("position", &TaskStatus::position, "steps that are done"),
            optional("waits_for", &TaskStatus::waits_for, "id of the task that it waits for"),
            optional("error", &TaskStatus::error, ""),
            optional("error_code", &TaskStatus::error_code, "a word of base/result.h"),
            optional("started_ns", &TaskStatus::started_ns, ""),
            optional("ended_ns", &TaskStatus::ended_ns, ""),
            optional("result", &TaskStatus::result, "what the steps found out"));
    }
};

struct Task {
    static constexpr std::string_view kName = "task";
    using Spec = TaskSpec;
    using Status = TaskStatus;
};

}  // namespace stoa::model
