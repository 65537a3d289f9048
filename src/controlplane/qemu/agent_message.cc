#include "controlplane/qemu/agent_message.h"

#include <utility>

#include <fmt/format.h>

#include "base/base64.h"
#include "controlplane/qemu/look.h"
#include "controlplane/qemu/qmp_message.h"

namespace stoa::qemu {

namespace {

Error refused(const Json& error) {
    const std::string kind = text_at(error, "class").value_or("");
    const std::string reason = cleaned(text_at(error, "desc").value_or("no reason given"));
    // The only sign of it: "Command guest-exec has been disabled: the agent is in frozen state".
    if (reason.contains("frozen")) {
        return {ErrorCode::busy, "the guest's file systems are frozen; thaw them first"};
    }
    const bool is_lacking = kind == "CommandNotFound" || reason.contains("has been disabled");
    return {is_lacking ? ErrorCode::unsupported : ErrorCode::io, reason};
}

}  // namespace

Result<AgentAnswer> parse_agent(std::string_view line) {
    auto parsed = parse_json(line);
    if (!parsed.ok() || !parsed->is_object()) {
        return Error(ErrorCode::io, fmt::format("not an answer: {}", cleaned(line)));
    }
    if (const Json* error = member(&*parsed, "error")) return AgentAnswer{refused(*error)};
    if (const Json* value = member(&*parsed, "return")) return AgentAnswer{*value};
    return Error(ErrorCode::io, fmt::format("not an answer: {}", cleaned(line)));
}

bool is_sync(std::string_view line, uint64_t number) {
    const auto parsed = parse_json(line);
    return parsed.ok() && unsigned_at(*parsed, "return") == number;
}

std::string agent_command(std::string_view command, JsonObject arguments) {
    JsonObject message{{"execute", command}};
    if (!arguments.empty()) message["arguments"] = std::move(arguments);
    return to_text(message) + "\n";
}

std::string agent_sync(uint64_t number) {
    return "\xff" + agent_command("guest-sync-delimited", {{"id", number}});
}

Result<std::string> agent_bytes(std::string_view text) {
    auto bytes = from_base64(text);
    // The guest's fault, not that of who asked.
    if (!bytes.ok()) return Error(ErrorCode::io, "not base64");
    return bytes;
}

}  // namespace stoa::qemu
