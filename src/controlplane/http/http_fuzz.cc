// Any bytes of a client: the server answers or ends the connection; it neither crashes nor hangs.
// The first byte chooses how the rest arrives: at once, or in two pieces.
#include <algorithm>
#include <cstdlib>

#include <boost/asio/local/connect_pair.hpp>

#include "controlplane/http/connection.h"
#include "controlplane/http/test_server.h"
#include "controlplane/http/transport.h"

using namespace stoa;
using namespace stoa::http;

namespace {

AsyncVoid send(asio::local::stream_protocol::socket& client, std::string_view first,
               std::string_view second) {
    co_await asio::async_write(client, asio::buffer(first.data(), first.size()), kAwait);
    co_await asio::post(client.get_executor(), asio::use_awaitable);
    co_await asio::async_write(client, asio::buffer(second.data(), second.size()), kAwait);
    boost::system::error_code ignored;
    client.shutdown(asio::local::stream_protocol::socket::shutdown_send, ignored);
}

AsyncVoid receive(asio::local::stream_protocol::socket& client) {
    std::array<char, 4096> piece{};
    for (;;) {
        const auto [error, count] = co_await client.async_read_some(asio::buffer(piece), kAwait);
        if (error) co_return;
    }
}

void rethrow(const std::exception_ptr& left) {
    if (left) std::rethrow_exception(left);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 1 || size > 100'000) return 0;
    // Nothing that sleeps, or connects to what the input names.
    static TestService service({"/slow", "/proxy"});
    const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
    const size_t cut = text.size() * data[0] / 255;

    asio::io_context loop{1};
    asio::local::stream_protocol::socket client(loop);
    asio::local::stream_protocol::socket server(loop);
    asio::local::connect_pair(client, server);
    ServerOptions options;
    options.transfer_limit = options.head_limit = std::chrono::milliseconds(200);
    options.idle_limit = options.ping_limit = options.transfer_limit;
    Transport transport(Transport::Socket(std::move(server)), nullptr);
    Connection connection(transport, Peer{}, service, options);
    asio::co_spawn(loop, connection.run(), rethrow);
    asio::co_spawn(loop, send(client, text.substr(0, cut), text.substr(cut)), rethrow);
    asio::co_spawn(loop, receive(client), rethrow);
    loop.run();

    const auto decoded = percent_decode(text, true);
    if (decoded.ok() && *percent_decode(percent_encode(*decoded), true) != *decoded) std::abort();
    return 0;
}
