// Connections to a control plane: the Unix socket, or TLS whose certificate is pinned.
#include <fmt/format.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <string>
#include <vector>

#include <boost/asio/connect.hpp>
#include <boost/asio/ssl/context.hpp>

#include "client/stream.h"

namespace stoa::client {

namespace {

constexpr size_t kSocketPathBytesMax = 107;

Error unreachable(const std::string& where, std::string_view why) {
    return {ErrorCode::io, fmt::format("{}: {}", where, why)};
}

// Only what descends from the pinned certificate, or is it, is trusted. The name in it does not
// count: an instance's authority issues certificates for this instance alone.
Result<void> trust(ssl::context& context, const std::string& pem) {
    boost::system::error_code error;
    context.set_verify_mode(ssl::verify_peer, error);
    if (!error) context.add_certificate_authority(asio::buffer(pem), error);
    if (error) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("the pinned certificate cannot be read: {}", error.message()));
    }
    X509_VERIFY_PARAM* parameters = SSL_CTX_get0_param(context.native_handle());
    X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_PARTIAL_CHAIN);
    return {};
}

Async<> connect_tcp(const std::string& host, uint16_t port, asio::ip::tcp::socket& socket) {
    asio::ip::tcp::resolver resolver(socket.get_executor());
    const auto [unknown, found] =
        co_await resolver.async_resolve(host, std::to_string(port), kAwait);
    if (unknown) co_return unreachable(fmt::format("host {}", host), unknown.message());
    const auto [refused, used] = co_await asio::async_connect(socket, found, kAwait);
    if (refused) {
        co_return unreachable(fmt::format("host {}, port {}", host, port), refused.message());
    }
    boost::system::error_code ignored;
    socket.set_option(asio::ip::tcp::no_delay(true), ignored);
    co_return Result<void>();
}

Async<std::unique_ptr<Tls>> connect_tls(const std::string& host, uint16_t port,
                                        ssl::context& context) {
    const auto executor = co_await asio::this_coro::executor;
    auto tls = std::make_unique<Tls>(executor, context);
    CO_TRY(co_await connect_tcp(host, port, tls->next_layer()));
    SSL_set_tlsext_host_name(tls->native_handle(), host.c_str());
    const auto [failed] = co_await tls->async_handshake(ssl::stream_base::client, kAwait);
    if (failed) {
        const long verdict = SSL_get_verify_result(tls->native_handle());
        if (verdict == X509_V_OK) {
            co_return unreachable(fmt::format("host {}, port {}", host, port), failed.message());
        }
        co_return Error(
            ErrorCode::denied,
            fmt::format("host {}, port {}: its certificate is not the one that was pinned ({}); if "
                        "the instance was made anew, remove the remote and add it again",
                        host, port, X509_verify_cert_error_string(verdict)));
    }
    co_return std::move(tls);
}

Async<std::unique_ptr<Stream>> connect_local(const std::string& path) {
    if (path.size() > kSocketPathBytesMax) {
        co_return Error(ErrorCode::invalid_argument,
                        fmt::format("{}: the path of a socket has at most {} bytes", path,
                                    kSocketPathBytesMax));
    }
    const auto executor = co_await asio::this_coro::executor;
    auto local = std::make_unique<Local>(executor);
    const auto [refused] =
        co_await local->async_connect(asio::local::stream_protocol::endpoint(path), kAwait);
    if (refused == boost::asio::error::access_denied) {
        co_return Error(
            ErrorCode::denied,
            fmt::format("{}: this user may not use it; members of the group stoa may", path));
    }
    if (refused) co_return unreachable(path, refused.message());
    co_return std::make_unique<Stream>(std::move(local));
}

std::string to_pem(X509* certificate) {
    const std::unique_ptr<BIO, decltype(&BIO_free)> memory(BIO_new(BIO_s_mem()), &BIO_free);
    if (!memory || PEM_write_bio_X509(memory.get(), certificate) != 1) return {};
    char* text = nullptr;
    const long bytes = BIO_get_mem_data(memory.get(), &text);
    return std::string(text, static_cast<size_t>(std::max(bytes, 0L)));
}

std::string fingerprint_of(const X509* certificate) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int bytes = 0;
    if (X509_digest(certificate, EVP_sha256(), digest.data(), &bytes) != 1) return {};
    std::string text;
    for (size_t i = 0; i < bytes; ++i) {
        text += fmt::format("{}{:02X}", i == 0 ? "" : ":", digest.at(i));
    }
    return text;
}

std::string subject_of(const X509* certificate) {
    std::array<char, 256> text{};
    X509_NAME_oneline(X509_get_subject_name(certificate), text.data(),
                      static_cast<int>(text.size()));
    return text.data();
}

Async<PeerCertificate> look_at(std::string host, uint16_t port) {
    ssl::context context(ssl::context::tls_client);
    context.set_verify_mode(ssl::verify_none);
    CO_TRY_ASSIGN(const auto tls, co_await connect_tls(host, port, context));
    STACK_OF(X509)* chain = SSL_get_peer_cert_chain(tls->native_handle());
    const int count = chain == nullptr ? 0 : sk_X509_num(chain);
    if (count == 0) {
        co_return unreachable(fmt::format("host {}, port {}", host, port), "shows no certificate");
    }
    X509* last = sk_X509_value(chain, count - 1);
    PeerCertificate peer;
    peer.is_authority = count > 1 && X509_check_ca(last) > 0;
    X509* pinned = peer.is_authority ? last : sk_X509_value(chain, 0);
    peer.pem = to_pem(pinned);
    peer.fingerprint = fingerprint_of(pinned);
    peer.subject = subject_of(pinned);
    co_return peer;
}

}  // namespace

Async<std::unique_ptr<Stream>> connect(const Endpoint& endpoint) {
    if (!endpoint.socket.empty()) co_return co_await connect_local(endpoint.socket);
    ssl::context context(ssl::context::tls_client);
    CO_TRY(trust(context, endpoint.certificate));
    CO_TRY_ASSIGN(auto tls, co_await connect_tls(endpoint.host, endpoint.port, context));
    co_return std::make_unique<Stream>(std::move(tls));
}

Result<PeerCertificate> fetch_certificate(const std::string& host, uint16_t port,
                                          std::chrono::milliseconds limit) {
    Loop loop;
    return loop.run(
        within(limit, fmt::format("host {}, port {}", host, port), look_at(host, port)));
}

}  // namespace stoa::client
