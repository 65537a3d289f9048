#include "apps/stoa/tasks.h"

#include <algorithm>
#include <tuple>

#include "apps/stoa/body.h"
#include "apps/stoa/units.h"
#include "base/utf8.h"
#include "client/problem.h"

namespace stoa::cli {

namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;
// How long the daemon holds a question that has no news: short where a line shows progress.
constexpr int64_t kShownSeconds = 1;
constexpr int64_t kSilentSeconds = 15;

bool is_over(std::string_view state) {
    return state == "done" || state == "failed" || state == "cancelled";
}

Error task_error(const Json& task, const std::string& id, const std::string& title) {
    const std::string state = text_at(task, "status.state");
    std::string text = to_plain_text(text_at(task, "status.error"));
    if (text.empty()) text = state == "cancelled" ? "it was cancelled" : "it failed";
    ErrorCode code = state == "cancelled" ? ErrorCode::cancelled : ErrorCode::io;
    std::ignore = client::parse_code(text_at(task, "status.error_code"), code);
    return {code, fmt::format("{}: {} (task {})", title, text, id)};
}

void show_progress(ProgressLine& line, const Json& task, const std::string& title) {
    if (!line.is_shown()) return;
    const std::string state = text_at(task, "status.state");
    if (state == "waiting") {
        const std::string other = to_plain_text(text_at(task, "status.waits_for"));
        line.show(other.empty() ? fmt::format("{}: waits for its turn", title)
                                : fmt::format("{}: waits for task {}", title, other));
        return;
    }
    std::string text = to_plain_text(text_at(task, "progress.text"));
    if (text.empty()) text = task_step(task);
    if (state == "undoing") text = "taking back: " + text;
    line.show(text.empty() ? title : fmt::format("{}: {}", title, text),
              static_cast<uint64_t>(std::max<int64_t>(number_at(task, "progress.done"), 0)),
              static_cast<uint64_t>(std::max<int64_t>(number_at(task, "progress.total"), 0)));
}

}  // namespace

std::string task_step(const Json& task) {
    const Json* steps = find_field(task, "spec.steps");
    const JsonArray* array = steps != nullptr ? steps->if_array() : nullptr;
    const auto position = static_cast<size_t>(number_at(task, "status.position"));
    if (array == nullptr || position >= array->size()) return {};
    const std::string text = to_plain_text(text_at((*array)[position], "text"));
    if (array->size() == 1) return text;
    return fmt::format("step {} of {}: {}", position + 1, array->size(), text);
}

Result<Json> wait_for_task(Context& context, const std::string& id, const std::string& title) {
    ProgressLine line;
    const int64_t begin_ns = now_ns();
    const auto limit = context.wishes().timeout;
    const std::string target = item_target("tasks", id);
    while (true) {
        int64_t wait = line.is_shown() ? kShownSeconds : kSilentSeconds;
        if (limit) {
            const int64_t left = limit->count() - (now_ns() - begin_ns) / kNsPerSecond;
            wait = std::clamp<int64_t>(left, 0, wait);
        }
        auto task = context.session().get(fmt::format("{}?wait={}", target, wait));
        if (!task.ok()) {
            line.clear();
            if (context.session().was_interrupted()) {
                print_error(
                    "{}: goes on as task {}\n  wait for it: stoa task wait {}\n"
                    "  end it:      stoa task cancel {}\n",
                    title, id, id, id);
            }
            return task.take_error();
        }
        const std::string state = text_at(*task, "status.state");
        if (state == "done") return task;
        if (is_over(state)) return task_error(*task, id, title);
        if (limit && now_ns() - begin_ns >= limit->count() * kNsPerSecond) {
            return Error(ErrorCode::timeout,
                         fmt::format("{}: not over after {}; goes on as task {}", title,
                                     format_duration(static_cast<uint64_t>(limit->count())), id));
        }
        show_progress(line, *task, title);
        // A daemon that does not hold questions is not asked without end.
        TRY_ASSIGN(client::Client * client, context.session().client());
        if (!client->pause(std::chrono::milliseconds(wait == 0 ? 100 : 20))) {
            return Error(ErrorCode::cancelled, "interrupted");
        }
    }
}

Result<int> run_task_wait(Context& context, const Invocation& invocation) {
    int exit_code = kDone;
    for (const std::string& id : invocation.all("TASK")) {
        auto task = context.session().get(item_target("tasks", id));
        if (!task.ok()) return task.take_error();
        const std::string title =
            fmt::format("{} {}", text_at(*task, "spec.verb"), text_at(*task, "spec.target"));
        task = wait_for_task(context, text_at(*task, "id"), to_plain_text(title));
        if (!task.ok()) {
            if (context.session().was_interrupted()) return task.take_error();
            print_error("stoa: {}\n", task.error().message());
            if (exit_code == kDone) exit_code = context.session().exit_code(task.error());
            continue;
        }
        context.say("{}: done\n", to_plain_text(title));
        if (context.wishes().quiet) print("{}\n", to_plain_text(text_at(*task, "id")));
        else if (context.wishes().output != Output::table) context.show_value(*task);
    }
    return exit_code;
}

Result<int> run_task_cancel(Context& context, const Invocation& invocation) {
    for (const std::string& id : invocation.all("TASK")) {
        TRY_ASSIGN(const auto answer, context.session().send(client::Method::post,
                                                             item_target("tasks", id) + "/cancel"));
        context.say("task {}: ends before its next step, and what it did is taken back\n", id);
        if (context.wishes().quiet) print("{}\n", id);
    }
    return kDone;
}

}  // namespace stoa::cli
