#include "controlplane/api/task_routes.h"

#include <chrono>

#include <fmt/format.h>

#include "base/schema.h"
#include "controlplane/api/kinds.h"
#include "controlplane/async/deadline.h"
#include "controlplane/http/query.h"

namespace stoa::api {

namespace {

using http::Method;
using http::Request;
using http::Response;
using http::Route;

struct TaskWait {
    uint64_t wait = 0;
    static constexpr auto fields() {
        return std::tuple(optional("wait", &TaskWait::wait,
                                   "seconds, up to 60: answer when it has ended, or then"));
    }
};

Json progress_schema() {
    const JsonObject integer{{"type", "integer"}};
    return JsonObject{{"type", "object"},
                      {"properties", JsonObject{{"done", integer},
                                                {"total", integer},
                                                {"text", JsonObject{{"type", "string"}}}}}};
}

Json task_schema() {
    Json schema = json_schema<model::Record<model::Task>>();
    schema.as_object()["properties"].as_object()["progress"] = progress_schema();
    return schema;
}

Async<Uuid> find_task(const Context& context, const Request& request) {
    CO_TRY_ASSIGN(const auto* record, context.records.find<model::Task>(request.parameter("task")));
    co_return record->id;
}

Async<Response> show_task(Context& context, const Request& request) {
    CO_TRY_ASSIGN(const TaskWait options, http::options_of<TaskWait>(request));
    if (options.wait > kTaskWaitSecondsMax) {
        co_return Error(ErrorCode::invalid_argument,
                        fmt::format("\"wait\" must be at most {} seconds", kTaskWaitSecondsMax));
    }
    CO_TRY_ASSIGN(const Uuid id, co_await find_task(context, request));
    if (options.wait > 0) {
        // How the task ended is in its record; that it goes on is no error either.
        (void)co_await within(std::chrono::seconds(options.wait), "the task",
                              context.engine.wait(id));
    }
    const auto* record = context.records.get<model::Task>(id);
    if (record == nullptr) {
        co_return Error(ErrorCode::not_found,
                        fmt::format("task {} does not exist any more", id.to_string()));
    }
    Json body = to_json(*record);
    const task::Progress progress = context.engine.progress(id);
    body.as_object()["progress"] =
        JsonObject{{"done", progress.done}, {"total", progress.total}, {"text", progress.text}};
    co_return Response{.body = std::move(body)};
}

Async<Response> cancel_task(Context& context, const Request& request) {
    CO_TRY_ASSIGN(const Uuid id, co_await find_task(context, request));
    CO_TRY(co_await context.engine.cancel(id));
    co_return Response{
        .status = 202,
        .body = JsonObject{{"task", id.to_string()}, {"target", "task/" + id.to_string()}}};
}

}  // namespace

std::vector<Route> task_routes(Context& context) {
    const auto cancel = [&context](const Request& request) {
        return cancel_task(context, request);
    };
    std::vector<Route> routes;
    routes.push_back({.path = "/v1/tasks/{task}",
                      .permission = "task.read",
                      .resource = "/task/{task}",
                      .summary = "Shows a task and its progress; waits for its end if asked to",
                      .handler = http::Read{[&context](const Request& request) {
                          return show_task(context, request);
                      }},
                      .answer_schema = task_schema(),
                      .query = http::parameters_of<TaskWait>()});
    routes.push_back({.method = Method::erase,
                      .path = "/v1/tasks/{task}",
                      .permission = "task.cancel",
                      .resource = "/task/{task}",
                      .summary = "Cancels a task before its next step",
                      .handler = http::Direct{cancel}});
    routes.push_back({.method = Method::post,
                      .path = "/v1/tasks/{task}/cancel",
                      .permission = "task.cancel",
                      .resource = "/task/{task}",
                      .summary = "Cancels a task before its next step",
                      .handler = http::Direct{cancel}});
    return routes;
}

}  // namespace stoa::api
