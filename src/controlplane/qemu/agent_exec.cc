// Programs in the guest, by its agent: exec of agent_commands.h.
#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

#include "base/base64.h"
#include "controlplane/async/deadline.h"
#include "controlplane/qemu/agent_commands.h"
#include "controlplane/qemu/agent_message.h"
#include "controlplane/qemu/look.h"
#include "controlplane/qemu/qmp_message.h"

namespace stoa::qemu {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPollFirst{5};
constexpr milliseconds kPollMax{500};
// An answer with much output takes its time on the serial channel of a slow guest.
constexpr milliseconds kStatusLimit{30'000};
constexpr size_t kCommandBytesMax = size_t{1} << 20;

Error unexpected(std::string_view command, const Json& answer) {
    return {ErrorCode::io,
            fmt::format("{}: unexpected answer {}", command, cleaned(to_text(answer)))};
}

// One of the outputs, cut to `bytes_max`.
Result<std::string> output(const Json& answer, std::string_view name, size_t bytes_max,
                           bool& is_cut) {
    const auto text = text_at(answer, name);
    if (!text) return std::string();
    TRY_ASSIGN(std::string bytes, agent_bytes(*text));
    if (bytes.size() > bytes_max) {
        bytes.resize(bytes_max);
        is_cut = true;
    }
    return bytes;
}

Result<void> check(const AgentExec& what) {
    size_t size_bytes = what.path.size() + what.input.size();
    for (const std::string& argument : what.arguments) size_bytes += argument.size();
    for (const auto& [name, value] : what.environment) {
        size_bytes += name.size() + value.size();
        if (name.empty() || name.contains('=')) {
            return Error(
                ErrorCode::invalid_argument,
                fmt::format("environment: \"{}\" is not the name of a variable", cleaned(name)));
        }
    }
    if (what.path.empty()) return Error(ErrorCode::invalid_argument, "exec: no program is named");
    if (size_bytes > kCommandBytesMax) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("exec: {} bytes of arguments and input; at most {}", size_bytes,
                                 kCommandBytesMax));
    }
    return {};
}

Async<AgentExecResult> poll_until_end(Agent& agent, int64_t pid, size_t output_bytes_max) {
    asio::steady_timer timer(co_await asio::this_coro::executor);
    milliseconds pause = kPollFirst;
    for (;;) {
        auto status = co_await exec_status(agent, pid, output_bytes_max);
        if (status.ok() && status->has_exited) co_return std::move(status->result);
        // While its file systems are frozen it still runs, or waits; a guest that is slow as well.
        const bool is_passing = status.ok() || status.error().code() == ErrorCode::busy ||
                                status.error().code() == ErrorCode::timeout;
        if (!is_passing) co_return status.error();
        timer.expires_after(pause);
        const auto [stopped] = co_await timer.async_wait(kAwait);
        if (stopped) co_return failed("guest-exec", stopped);
        pause = std::min(pause * 2, kPollMax);
    }
}

}  // namespace

Async<int64_t> exec_start(Agent& agent, AgentExec what) {
    CO_TRY(check(what));
    JsonArray list;
    for (const std::string& argument : what.arguments) list.emplace_back(argument);
    JsonObject arguments{{"path", what.path}, {"arg", list}, {"capture-output", true}};
    if (!what.environment.empty()) {
        JsonArray variables;
        for (const auto& [name, value] : what.environment) {
            variables.emplace_back(fmt::format("{}={}", name, value));
        }
        arguments["env"] = std::move(variables);
    }
    if (!what.input.empty()) arguments["input-data"] = to_base64(what.input);
    CO_TRY_ASSIGN(const Json answer,
                  co_await agent.call("guest-exec", std::move(arguments), what.limit));
    const auto pid = integer_at(answer, "pid");
    if (!pid) co_return unexpected("guest-exec", answer);
    co_return *pid;
}

Async<AgentExecStatus> exec_status(Agent& agent, int64_t pid, size_t output_bytes_max) {
    CO_TRY_ASSIGN(const Json answer,
                  co_await agent.call("guest-exec-status", {{"pid", pid}}, kStatusLimit));
    const auto has_exited = bool_at(answer, "exited");
    if (!has_exited) co_return unexpected("guest-exec-status", answer);
    AgentExecStatus status{.has_exited = *has_exited, .result = {}};
    if (!status.has_exited) co_return status;
    AgentExecResult& result = status.result;
    const auto small = [&](std::string_view name) {
        return static_cast<int32_t>(
            std::clamp<int64_t>(integer_at(answer, name).value_or(0), INT32_MIN, INT32_MAX));
    };
    result.exit_code = small("exitcode");
    result.signal = small("signal");
    result.is_cut = bool_at(answer, "out-truncated").value_or(false) ||
                    bool_at(answer, "err-truncated").value_or(false);
    CO_TRY_ASSIGN(result.output, output(answer, "out-data", output_bytes_max, result.is_cut));
    CO_TRY_ASSIGN(result.error_output, output(answer, "err-data", output_bytes_max, result.is_cut));
    co_return status;
}

Async<AgentExecResult> exec(Agent& agent, AgentExec what) {
    const size_t output_bytes_max = what.output_bytes_max;
    const milliseconds limit = what.limit;
    std::string name = cleaned(what.path);
    CO_TRY_ASSIGN(const int64_t pid, co_await exec_start(agent, std::move(what)));
    co_return co_await within(limit, fmt::format("{} (process {} of the guest)", name, pid),
                              poll_until_end(agent, pid, output_bytes_max));
}

}  // namespace stoa::qemu
