// Whatever a daemon answers instead of a problem, and whatever a user gives as an address: neither
// ends the program.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "client/endpoint.h"
#include "client/problem.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto problem = stoa::client::parse_problem(size % 600, text);
    const auto error = problem.to_error();
    const auto endpoint = stoa::client::parse_url(text);
    if (!endpoint.ok()) return error.message().empty() ? 1 : 0;
    // What was read is written so that it is read as the same.
    const auto again = stoa::client::parse_url(endpoint->to_string());
    if (!again.ok() || again->host != endpoint->host || again->port != endpoint->port) {
        __builtin_trap();
    }
    return 0;
}
