// The client of a control plane's API: HTTP/1.1 over a Unix socket, or HTTPS to one whose
// certificate is pinned. All calls block; SIGINT and SIGTERM end the one that runs.
//
// Behaviour against a server that fails in every way: client_test.cc.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "client/endpoint.h"
#include "client/problem.h"

namespace stoa::client {

enum class Method : uint8_t { get, post, put, patch, erase };

struct Call {
    Method method = Method::get;
    std::string target = {};  // path and query, encoded: "/v1/vms?limit=100"
    Json body = {};           // null: none
    std::map<std::string, std::string> headers = {};
    std::chrono::milliseconds limit{30'000};
};

struct Answer {
    uint32_t status = 0;
    Json body;         // if it is JSON
    std::string text;  // if it is not
};

// Fills `into` from its start; 0: that was all.
using Source = std::function<Result<size_t>(std::span<char> into)>;
using Sink = std::function<Result<void>(std::string_view piece)>;

// Why the last call failed.
enum class Failure : uint8_t {
    none,
    unreachable,  // nobody answers there: nothing was sent
    hung_up,  // the connection broke before the answer was whole: it may have been done or not
    refused,  // the daemon answered with a problem
    interrupted,  // by SIGINT or SIGTERM
    late,  // no answer within the limit
    local,  // source, sink, or the bytes of the answer
};

class WebSocket;

// One thread. One connection, kept between calls and made anew when the other side closed it; a
// call that may be repeated (GET, or with the header Idempotency-Key) then is, once.
class Client {
public:
    static std::unique_ptr<Client> create(Endpoint endpoint);
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;
    ~Client();

    // Errors: that of the problem if the daemon refused; io, timeout, cancelled (interrupted).
    Result<Answer> call(const Call& call);
    // `size_bytes` none: sent in chunks. `call.body` is not used. The limit counts for each piece
    // and for the answer.
    Result<Answer> upload(const Call& call, const Source& source,
                          std::optional<uint64_t> size_bytes);
    // The body of a good answer goes to `sink`. The limit counts for each piece.
    Result<void> download(const Call& call, const Sink& sink);
    // Lives no longer than the client.
    Result<std::unique_ptr<WebSocket>> open_socket(const std::string& target,
                                                   std::chrono::milliseconds limit);

    // Waits; false if interrupted.
    bool pause(std::chrono::milliseconds duration);

    [[nodiscard]] Failure failure() const;
    // What the daemon said, if the last call was refused.
    [[nodiscard]] const std::optional<Problem>& problem() const;
    [[nodiscard]] const Endpoint& endpoint() const;
    void set_token(std::string token);

    struct State;

private:
    explicit Client(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

// What a server shows before it is trusted.
struct PeerCertificate {
    std::string pem;  // of the authority that issued its certificate, if it sends that one
    std::string fingerprint;  // SHA-256: "AB:CD:..."
    std::string subject;
    bool is_authority = false;
};

// Nothing is sent but the handshake. Errors: io, timeout.
Result<PeerCertificate> fetch_certificate(const std::string& host, uint16_t port,
                                          std::chrono::milliseconds limit);

}  // namespace stoa::client
