// A Unix socket from which lines are read: what QMP and the agent's channel have in common.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include <boost/asio/local/stream_protocol.hpp>

#include "controlplane/async/async.h"
#include "controlplane/qemu/line_buffer.h"

namespace stoa::qemu {

// A connection, or what is to become one. One thread.
class Stream {
public:
    Stream(const asio::any_io_executor& executor, LineRules rules)
        : socket_(executor), lines_(rules) {}

    [[nodiscard]] bool is_open() const { return socket_.is_open(); }
    // What waits for it ends with `cancelled`.
    void close();

private:
    friend Async<> connect_patiently(Stream& stream, std::string socket);
    friend Async<> connect_once(Stream& stream, std::string socket);
    friend Async<std::string> read_line(Stream& stream, std::string_view what);
    friend Async<> write_bytes(Stream& stream, std::string_view bytes, std::string_view what);

    asio::local::stream_protocol::socket socket_;
    LineBuffer lines_;
};

// Tries again as long as nobody listens, until it is cancelled.
// Errors: cancelled; invalid_argument (the path is too long), io.
Async<> connect_patiently(Stream& stream, std::string socket);
// Errors: not_found (nobody listens), as above.
Async<> connect_once(Stream& stream, std::string socket);

// The next line. Errors: out_of_range (it is too long; the next one can be read), io (`what`
// ended the connection, or it failed), cancelled.
Async<std::string> read_line(Stream& stream, std::string_view what);
// All of `bytes`, which must live until then. Errors: io, cancelled.
Async<> write_bytes(Stream& stream, std::string_view bytes, std::string_view what);

}  // namespace stoa::qemu
