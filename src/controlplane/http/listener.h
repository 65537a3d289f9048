// Listeners: sockets that clients connect to, and who a client of one is.
#pragma once

#include <cstdint>
#include <string>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>

#include "base/result.h"
#include "controlplane/http/service.h"

namespace stoa::http {

// As Server::listen_unix.
Result<asio::local::stream_protocol::acceptor> listen_at(const asio::any_io_executor& executor,
                                                         const std::string& path,
                                                         const std::string& group);
// Errors: invalid_argument (not an IP address), io.
Result<asio::ip::tcp::acceptor> listen_at(const asio::any_io_executor& executor,
                                          const asio::ip::address& address, uint16_t port);

// What the kernel says of the client of a Unix socket. Errors: io.
Result<Peer> peer_of(asio::local::stream_protocol::socket& socket);

}  // namespace stoa::http
