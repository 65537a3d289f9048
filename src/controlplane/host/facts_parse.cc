// The parsers of facts.h: texts of /proc and /etc, and what programs say of themselves.
#include <algorithm>
#include <charconv>
#include <set>

#include "controlplane/host/cgroup_places.h"
#include "controlplane/host/facts.h"

namespace stoa::host {

namespace {

constexpr uint64_t kBytesPerKilobyte = 1024;
constexpr size_t kResolversMax = 16;
constexpr size_t kNameBytesMax = 200;
constexpr std::string_view kListening = "0A";

std::optional<uint64_t> number(std::string_view text, int base = 10) {
    uint64_t value = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (failed != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

}  // namespace

uint64_t Memory::usable_bytes() const {
    return limit_bytes ? std::min(*limit_bytes, total_bytes) : total_bytes;
}

Memory parse_meminfo(std::string_view text) {
    Memory memory;
    for (const std::string_view line : split(text, "\n")) {
        const auto words = split(line, " \t");
        if (words.size() < 2) continue;
        const auto kilobytes = number(words[1]);
        if (!kilobytes || *kilobytes > UINT64_MAX / kBytesPerKilobyte) continue;
        if (words[0] == "MemTotal:") memory.total_bytes = *kilobytes * kBytesPerKilobyte;
        if (words[0] == "MemAvailable:") memory.available_bytes = *kilobytes * kBytesPerKilobyte;
    }
    return memory;
}

std::vector<std::string> parse_resolvers(std::string_view resolv_conf) {
    std::vector<std::string> found;
    for (const std::string_view line : split(resolv_conf, "\n")) {
        const auto words = split(line, " \t\r");
        if (words.size() < 2 || words[0] != "nameserver" || found.size() >= kResolversMax) continue;
        found.emplace_back(words[1]);
    }
    return found;
}

std::string parse_distribution(std::string_view os_release) {
    constexpr std::string_view kKey = "PRETTY_NAME=";
    for (std::string_view line : split(os_release, "\n")) {
        if (!line.starts_with(kKey)) continue;
        line.remove_prefix(kKey.size());
        if (line.size() >= 2 && (line[0] == '"' || line[0] == '\'') && line.back() == line[0]) {
            line = line.substr(1, line.size() - 2);
        }
        return std::string(line.substr(0, kNameBytesMax));
    }
    return "";
}

std::string parse_qemu_version(std::string_view output) {
    constexpr std::string_view kBefore = "version ";
    const size_t at = output.find(kBefore);
    if (at == std::string_view::npos) return "";
    output.remove_prefix(at + kBefore.size());
    return std::string(output.substr(0, std::min(output.find('\n'), kNameBytesMax)));
}

std::vector<uint16_t> parse_listening(std::string_view proc_net_tcp) {
    std::set<uint16_t> ports;
    for (const std::string_view line : split(proc_net_tcp, "\n")) {
        const auto words = split(line, " ");
        if (words.size() < 4 || words[3] != kListening) continue;
        const size_t colon = words[1].rfind(':');
        if (colon == std::string_view::npos) continue;
        const auto port = number(words[1].substr(colon + 1), 16);
        if (port && *port > 0 && *port <= UINT16_MAX) ports.insert(static_cast<uint16_t>(*port));
    }
    return {ports.begin(), ports.end()};
}

}  // namespace stoa::host
