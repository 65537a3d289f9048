#include "client/endpoint.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include "base/json.h"

namespace stoa::client {

namespace {

constexpr size_t kStateBytesMax = size_t{64} << 20;
constexpr size_t kInstanceDigits = 8;
constexpr std::string_view kSocketName = "stoad.sock";

bool is_instance(std::string_view text) {
    return text.size() == kInstanceDigits &&
           text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// Where instances have their sockets, the most likely first.
std::vector<std::string> runtime_bases() {
    std::vector<std::string> bases{"/run/stoa"};
    const char* user = std::getenv("XDG_RUNTIME_DIR");
    if (user != nullptr && *user != '\0') bases.push_back(fmt::format("{}/stoa", user));
    bases.push_back(fmt::format("/tmp/stoa-{}", ::geteuid()));
    return bases;
}

Result<uint16_t> parse_port(std::string_view text, std::string_view url) {
    uint16_t port = 0;
    const auto* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, port);
    if (error != std::errc{} || rest != end || port == 0) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("\"{}\" has no port from 1 to 65535 behind its colon", url));
    }
    return port;
}

}  // namespace

std::string Endpoint::to_string() const {
    if (!socket.empty()) return socket;
    return host.find(':') == std::string::npos ? fmt::format("https://{}:{}", host, port)
                                               : fmt::format("https://[{}]:{}", host, port);
}

Result<Endpoint> parse_url(std::string_view url) {
    std::string_view rest = url;
    if (rest.starts_with("http://")) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("\"{}\" is not encrypted: write https://", url));
    }
    if (rest.starts_with("https://")) rest.remove_prefix(8);
    if (rest.ends_with('/')) rest.remove_suffix(1);
    Endpoint endpoint;
    endpoint.port = kPort;
    const bool is_bracketed = rest.starts_with('[');
    const size_t end = is_bracketed ? rest.find(']') : rest.find(':');
    endpoint.host = rest.substr(is_bracketed ? 1 : 0, end - (is_bracketed ? 1 : 0));
    const size_t after = end == std::string_view::npos ? rest.size() : end + (is_bracketed ? 1 : 0);
    const std::string_view tail = rest.substr(after);
    const bool is_host = !endpoint.host.empty() && endpoint.host.size() <= 253 &&
                         endpoint.host.find_first_not_of(
                             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                             "0123456789.-_:%") == std::string::npos;
    const bool is_open = is_bracketed && end == std::string_view::npos;
    if (!is_host || is_open || (!tail.empty() && tail[0] != ':')) {
        return Error(
            ErrorCode::invalid_argument,
            fmt::format("\"{}\" is no address: write https://HOST or https://HOST:PORT", url));
    }
    if (!tail.empty()) {
        TRY_ASSIGN(endpoint.port, parse_port(tail.substr(1), url));
    }
    return endpoint;
}

Result<std::string> socket_of_root(const std::string& root) {
    const std::string path = root + "/blockd/state.json";
    std::ifstream file(path);
    if (!file) {
        return Error(
            ErrorCode::not_found,
            fmt::format("{}: no instance that this user may read was ever started in it", root));
    }
    std::string text(std::istreambuf_iterator<char>(file), {});
    if (text.size() > kStateBytesMax) text.clear();
    const Result<Json> json = parse_json(text);
    const JsonObject* object = json.ok() ? json->if_object() : nullptr;
    const Json* id = object != nullptr ? object->if_contains("instance") : nullptr;
    if (id == nullptr || !id->is_string() || !is_instance(std::string(id->get_string()))) {
        return Error(ErrorCode::corrupt, fmt::format("{}: names no instance", path));
    }
    const std::string name(id->get_string());
    std::string newest;
    for (const std::string& base : runtime_bases()) {
        const std::string socket = fmt::format("{}/{}/{}", base, name, kSocketName);
        std::error_code error;
        if (std::filesystem::exists(socket, error)) return socket;
        if (newest.empty()) newest = socket;
    }
    return Error(
        ErrorCode::not_found,
        fmt::format("instance {} in {} has no socket: {} does not exist", name, root, newest));
}

std::vector<std::string> local_sockets() {
    std::vector<std::string> sockets;
    for (const std::string& base : runtime_bases()) {
        std::error_code error;
        for (std::filesystem::directory_iterator at(base, error), end; !error && at != end;
             at.increment(error)) {
            const std::string socket = at->path() / kSocketName;
            std::error_code ignored;
            if (is_instance(at->path().filename().string()) &&
                std::filesystem::is_socket(socket, ignored)) {
                sockets.push_back(socket);
            }
        }
    }
    std::ranges::sort(sockets);
    return sockets;
}

std::string percent_encode(std::string_view text) {
    std::string encoded;
    for (const char c : text) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
        if (plain) encoded += c;
        else encoded += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
    return encoded;
}

}  // namespace stoa::client
