// TlsContext: certificate and key of the server (TLS 1.2 and 1.3).
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace stoa::http {

// Immutable; each connection keeps the one it was made with.
class TlsContext {
public:
    // `chain_pem`: the leaf, then those between it and the CA. `key_pem`: the leaf's.
    // Errors: invalid_argument (what OpenSSL says; the key does not belong to the leaf).
    static Result<std::shared_ptr<const TlsContext>> create(std::string_view chain_pem,
                                                            std::string_view key_pem);
    TlsContext(const TlsContext&) = delete;
    TlsContext& operator=(const TlsContext&) = delete;
    ~TlsContext();

    struct State;
    // An asio::ssl::context, for connection.cc.
    [[nodiscard]] State& state() const { return *state_; }

private:
    explicit TlsContext(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace stoa::http
