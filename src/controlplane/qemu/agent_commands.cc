#include "controlplane/qemu/agent_commands.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

#include "controlplane/async/deadline.h"
#include "controlplane/qemu/agent_message.h"
#include "controlplane/qemu/look.h"
#include "controlplane/qemu/qmp_message.h"

namespace stoa::qemu {

namespace {

using std::chrono::milliseconds;

constexpr size_t kInterfacesMax = 256;
constexpr size_t kAddressesMax = 256;
constexpr size_t kTextMax = 256;

Error unexpected(std::string_view command, const Json& answer) {
    return {ErrorCode::io,
            fmt::format("{}: unexpected answer {}", command, cleaned(to_text(answer)))};
}

Async<> done(Agent& agent, std::string command, JsonObject arguments, milliseconds limit) {
    const auto answer = co_await agent.call(std::move(command), std::move(arguments), limit);
    if (!answer.ok()) co_return answer.error();
    co_return Result<void>();
}

Async<uint32_t> counted(Agent& agent, std::string command, milliseconds limit) {
    CO_TRY_ASSIGN(const Json answer, co_await agent.call(command, {}, limit));
    const int64_t* count = answer.if_int64();
    if (count == nullptr || *count < 0 || *count > UINT32_MAX)
        co_return unexpected(command, answer);
    co_return static_cast<uint32_t>(*count);
}

// Short text of a guest: printable, or what is printable of it.
std::string short_text(const Json& value, std::string_view name) {
    return cleaned(text_at(value, name).value_or("").substr(0, kTextMax));
}

}  // namespace

Async<> ping(Agent& agent, milliseconds limit) { return done(agent, "guest-ping", {}, limit); }

Async<uint32_t> freeze(Agent& agent, milliseconds limit) {
    return counted(agent, "guest-fsfreeze-freeze", limit);
}

Async<uint32_t> thaw(Agent& agent, milliseconds limit) {
    return counted(agent, "guest-fsfreeze-thaw", limit);
}

Async<bool> is_frozen(Agent& agent) {
    CO_TRY_ASSIGN(const Json answer, co_await agent.call("guest-fsfreeze-status"));
    const auto* word = answer.if_string();
    if (word == nullptr) co_return unexpected("guest-fsfreeze-status", answer);
    co_return *word == "frozen";
}

Async<> shutdown(Agent& agent, Shutdown kind, milliseconds limit) {
    constexpr std::array<std::string_view, 3> kModes = {"powerdown", "reboot", "halt"};
    return agent.tell("guest-shutdown", {{"mode", kModes.at(static_cast<size_t>(kind))}}, limit);
}

Async<std::vector<GuestInterface>> network_interfaces(Agent& agent) {
    constexpr std::string_view kCommand = "guest-network-get-interfaces";
    CO_TRY_ASSIGN(const Json answer, co_await agent.call(std::string(kCommand)));
    if (!answer.is_array()) co_return unexpected(kCommand, answer);
    std::vector<GuestInterface> interfaces;
    for (const Json& one : answer.get_array()) {
        if (interfaces.size() >= kInterfacesMax) break;
        GuestInterface interface{.name = short_text(one, "name"),
                                 .mac = short_text(one, "hardware-address"),
                                 .addresses = {}};
        std::ranges::transform(interface.mac, interface.mac.begin(), [](char c) {
            return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
        });
        for (const Json& address : array_at(one, "ip-addresses")) {
            if (interface.addresses.size() >= kAddressesMax) break;
            const uint64_t prefix = unsigned_at(address, "prefix").value_or(0);
            interface.addresses.push_back(
                {.address = short_text(address, "ip-address"),
                 .prefix_bits = static_cast<uint32_t>(std::min<uint64_t>(prefix, 128)),
                 .is_ipv6 = text_at(address, "ip-address-type") == "ipv6"});
        }
        interfaces.push_back(std::move(interface));
    }
    co_return interfaces;
}

Async<GuestSystem> system_info(Agent& agent) {
    CO_TRY_ASSIGN(const Json answer, co_await agent.call("guest-get-osinfo"));
    co_return GuestSystem{.id = short_text(answer, "id"),
                          .name = short_text(answer, "pretty-name"),
                          .version = short_text(answer, "version-id"),
                          .kernel = short_text(answer, "kernel-release")};
}

}  // namespace stoa::qemu
