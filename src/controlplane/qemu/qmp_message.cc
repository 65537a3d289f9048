#include "controlplane/qemu/qmp_message.h"

#include <utility>

#include <fmt/format.h>

#include "controlplane/qemu/look.h"

namespace stoa::qemu {

namespace {

constexpr size_t kCleanedMax = 200;
constexpr int64_t kMicroseconds = 1'000'000;
constexpr int64_t kSecondsMax = int64_t{1} << 40;

Error unreadable(std::string_view what, std::string_view line) {
    return {ErrorCode::io, fmt::format("{}: {}", what, cleaned(line))};
}

QmpGreeting greeting(const Json& qmp) {
    const Json* version = member(member(&qmp, "version"), "qemu");
    if (version == nullptr) return {};
    const auto part = [&](std::string_view name) { return integer_at(*version, name).value_or(0); };
    return {fmt::format("{}.{}.{}", part("major"), part("minor"), part("micro"))};
}

QmpEvent event(std::string_view name, const JsonObject& message) {
    QmpEvent event{.name = std::string(name), .data = JsonObject()};
    const Json* data = message.if_contains("data");
    if (data != nullptr && data->is_object()) event.data = *data;
    const Json* time = message.if_contains("timestamp");
    if (time == nullptr) return event;
    const int64_t seconds = integer_at(*time, "seconds").value_or(0);
    const int64_t microseconds = integer_at(*time, "microseconds").value_or(0);
    const bool is_known =
        seconds > 0 && seconds < kSecondsMax && microseconds >= 0 && microseconds < kMicroseconds;
    if (is_known) event.time_us = seconds * kMicroseconds + microseconds;
    return event;
}

Error refused(const Json& error) {
    const std::string kind = text_at(error, "class").value_or("");
    ErrorCode code = ErrorCode::io;
    if (kind == "DeviceNotFound") code = ErrorCode::not_found;
    if (kind == "CommandNotFound") code = ErrorCode::unsupported;
    return {code, cleaned(text_at(error, "desc").value_or("no reason given"))};
}

}  // namespace

std::string cleaned(std::string_view text) {
    std::string clean;
    for (const char c : text.substr(0, kCleanedMax)) {
        clean += c >= ' ' && c <= '~' ? c : '?';
    }
    if (text.size() > kCleanedMax) clean += "...";
    return clean;
}

Result<QmpMessage> parse_qmp(std::string_view line) {
    auto parsed = parse_json(line);
    if (!parsed.ok()) return unreadable("not JSON", line);
    const JsonObject* message = parsed->if_object();
    if (message == nullptr) return unreadable("not an object", line);
    if (const Json* qmp = message->if_contains("QMP")) return QmpMessage(greeting(*qmp));
    if (const Json* name = message->if_contains("event")) {
        const auto* text = name->if_string();
        if (text == nullptr) return unreadable("an event without a name", line);
        return QmpMessage(event(*text, *message));
    }
    const Json* value = message->if_contains("return");
    const Json* error = message->if_contains("error");
    if (value == nullptr && error == nullptr) return unreadable("not a message of QMP", line);
    // QEMU answers without the id what it could not parse; 0 is nobody's.
    QmpAnswer answer{.id = unsigned_at(*parsed, "id").value_or(0)};
    if (error != nullptr) {
        answer.result = refused(*error);
    } else {
        answer.result = *value;
    }
    return QmpMessage(std::move(answer));
}

std::string qmp_command(std::string_view command, JsonObject arguments, uint64_t id) {
    JsonObject message{{"execute", command}, {"id", id}};
    if (!arguments.empty()) message["arguments"] = std::move(arguments);
    return to_text(message) + "\n";
}

}  // namespace stoa::qemu
