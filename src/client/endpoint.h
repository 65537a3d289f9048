// Where a control plane is found.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace stoa::client {

// A Unix socket, or a host that is reached over HTTPS.
struct Endpoint {
    std::string socket;  // path; empty: HTTPS
    std::string host;
    uint16_t port = 0;
    std::string certificate;  // PEM: what the server's certificate must descend from, or be
    std::string token;        // empty: none

    // For messages.
    [[nodiscard]] std::string to_string() const;
};

constexpr uint16_t kPort = 8443;

// "https://HOST[:PORT]", "HOST:PORT", "[::1]:PORT". Errors: invalid_argument.
Result<Endpoint> parse_url(std::string_view url);

// The socket of the instance in `root`: its id is in ROOT/blockd/state.json. Errors: not_found,
// corrupt.
Result<std::string> socket_of_root(const std::string& root);
// Sockets of all instances of this machine that this user may see.
[[nodiscard]] std::vector<std::string> local_sockets();

// For one segment of a path, or a value of a query: all but letters, digits and "-._~" as %XX.
[[nodiscard]] std::string percent_encode(std::string_view text);

}  // namespace stoa::client
