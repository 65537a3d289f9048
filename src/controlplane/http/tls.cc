#include "controlplane/http/tls.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <boost/asio/buffer.hpp>

#include "controlplane/http/transport.h"

namespace stoa::http {

TlsContext::TlsContext(std::unique_ptr<State> state) : state_(std::move(state)) {}
TlsContext::~TlsContext() = default;

Result<std::shared_ptr<const TlsContext>> TlsContext::create(std::string_view chain_pem,
                                                             std::string_view key_pem) {
    auto state = std::make_unique<State>();
    asio::ssl::context& context = state->context;
    boost::system::error_code error;
    const auto wrong = [&](std::string_view what) {
        ERR_clear_error();
        return Error(ErrorCode::invalid_argument,
                     fmt::format("the server's {}: {}", what, error.message()));
    };
    using asio::ssl::context_base;
    context.set_options(context_base::default_workarounds | context_base::no_sslv2 |
                            context_base::no_sslv3 | context_base::no_tlsv1 |
                            context_base::no_tlsv1_1 | context_base::no_compression,
                        error);
    if (error) return wrong("TLS options");
    SSL_CTX_set_mode(context.native_handle(), SSL_MODE_RELEASE_BUFFERS);
    context.use_certificate_chain(asio::buffer(chain_pem.data(), chain_pem.size()), error);
    if (error) return wrong("certificate");
    context.use_private_key(asio::buffer(key_pem.data(), key_pem.size()), context_base::pem, error);
    if (error) return wrong("private key");
    if (SSL_CTX_check_private_key(context.native_handle()) != 1) {
        ERR_clear_error();
        return Error(ErrorCode::invalid_argument,
                     "the server's private key does not belong to its certificate");
    }
    // The constructor is private.
    return std::shared_ptr<const TlsContext>(
        std::unique_ptr<const TlsContext>(new TlsContext(std::move(state))));
}

}  // namespace stoa::http
