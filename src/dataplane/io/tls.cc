#include "dataplane/io/tls.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <array>
#include <utility>

#include "base/check.h"
#include "dataplane/io/system_error.h"
#include "dataplane/io/tls_stream.h"

namespace stoa::io {

namespace {

using ContextPointer = std::unique_ptr<SSL_CTX, OpensslDeleter<SSL_CTX_free>>;
using Fingerprint = std::array<unsigned char, 32>;  // SHA-256

constexpr char kCiphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20";  // of TLS 1.2; 1.3 has only good ones

Error cannot_load(std::string_view what, const std::string& file) {
    const unsigned long first = ERR_peek_error();
    if (ERR_SYSTEM_ERROR(first)) {
        ERR_clear_error();
        return system_error(fmt::format("{} {}: cannot read", what, file), ERR_GET_REASON(first));
    }
    return {ErrorCode::invalid_argument,
            fmt::format("{} {}: cannot be used: {}", what, file, openssl_reason())};
}

Result<ContextPointer> make_context(const SSL_METHOD* method) {
    ContextPointer context(SSL_CTX_new(method));
    if (context == nullptr) {
        return Error(ErrorCode::unsupported, "TLS: cannot begin: " + openssl_reason());
    }
    SSL_CTX* raw = context.get();
    SSL_CTX_set_options(raw, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(raw, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    // A key with a passphrase is refused; the default would ask at the terminal.
    SSL_CTX_set_default_passwd_cb(raw, [](char*, int, int, void*) { return -1; });
    const bool good = SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION) == 1 &&
                      SSL_CTX_set_num_tickets(raw, 0) == 1 &&
                      SSL_CTX_set_cipher_list(raw, kCiphers) == 1;
    if (!good) return Error(ErrorCode::unsupported, "TLS: cannot begin: " + openssl_reason());
    return context;
}

Result<void> load_identity(SSL_CTX* context, const std::string& certificate,
                           const std::string& key) {
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) != 1) {
        return cannot_load("certificate", certificate);
    }
    if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(context) != 1) {
        return cannot_load("key", key);
    }
    return {};
}

Result<void> load_authority(SSL_CTX* context, const std::string& file) {
    ERR_clear_error();
    if (SSL_CTX_load_verify_file(context, file.c_str()) != 1) {
        return cannot_load("authority", file);
    }
    return {};
}

Result<Fingerprint> parse_fingerprint(std::string_view text) {
    Fingerprint result{};
    std::string digits;
    for (const char each : text) {
        if (each != ':') digits += each;
    }
    const auto digit = [](char from) {
        if (from >= '0' && from <= '9') return from - '0';
        if (from >= 'a' && from <= 'f') return from - 'a' + 10;
        if (from >= 'A' && from <= 'F') return from - 'A' + 10;
        return -1;
    };
    bool good = digits.size() == 2 * result.size();
    for (size_t i = 0; good && i < result.size(); ++i) {
        const int high = digit(digits[2 * i]);
        const int low = digit(digits[2 * i + 1]);
        good = high >= 0 && low >= 0;
        result.at(i) = static_cast<unsigned char>(high * 16 + low);
    }
    if (good) return result;
    return Error(
        ErrorCode::invalid_argument,
        fmt::format("fingerprint \"{}\": write the 64 hexadecimal digits of a SHA-256", text));
}

bool is_number_address(const std::string& host) {
    std::array<unsigned char, sizeof(in6_addr)> bytes{};
    return inet_pton(AF_INET, host.c_str(), bytes.data()) == 1 ||
           inet_pton(AF_INET6, host.c_str(), bytes.data()) == 1;
}

struct Pin {
    Fingerprint fingerprint{};
    bool with_authority = false;
};

// In place of OpenSSL's own judgement of a certificate.
int judge_pinned(X509_STORE_CTX* judged, void* argument) {
    const Pin& pin = *static_cast<const Pin*>(argument);
    Fingerprint found{};
    unsigned size = 0;
    const X509* certificate = X509_STORE_CTX_get0_cert(judged);
    if (certificate == nullptr ||
        X509_digest(certificate, EVP_sha256(), found.data(), &size) != 1 || size != found.size() ||
        found != pin.fingerprint) {
        X509_STORE_CTX_set_error(judged, X509_V_ERR_CERT_REJECTED);
        return 0;
    }
    if (pin.with_authority) return X509_verify_cert(judged);
    X509_STORE_CTX_set_error(judged, X509_V_OK);
    return 1;
}

}  // namespace

struct TlsContext::Loaded {
    ContextPointer context;
    Pin pin;

    static Result<std::shared_ptr<const Loaded>> load(const TlsServerOptions& options);
    static Result<std::shared_ptr<const Loaded>> load(const TlsClientOptions& options);
    [[nodiscard]] Result<SslPointer> make(const Executor& executor) const;
};

Result<std::shared_ptr<const TlsContext::Loaded>> TlsContext::Loaded::load(
    const TlsServerOptions& options) {
    auto loaded = std::make_shared<Loaded>();
    TRY_ASSIGN(loaded->context, make_context(TLS_server_method()));
    SSL_CTX* context = loaded->context.get();
    TRY(load_identity(context, options.certificate_file, options.key_file));
    if (!options.client_authority_file.empty()) {
        const std::string& file = options.client_authority_file;
        TRY(load_authority(context, file));
        STACK_OF(X509_NAME)* names = SSL_load_client_CA_file(file.c_str());
        if (names == nullptr) return cannot_load("authority", file);
        SSL_CTX_set_client_CA_list(context, names);
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    }
    return std::shared_ptr<const Loaded>(std::move(loaded));
}

Result<std::shared_ptr<const TlsContext::Loaded>> TlsContext::Loaded::load(
    const TlsClientOptions& options) {
    if (options.authority_file.empty() && options.fingerprint.empty()) {
        return Error(ErrorCode::invalid_argument,
                     "TLS: name an authority or a fingerprint, or the server may be anybody");
    }
    if (!options.authority_file.empty() && options.fingerprint.empty() && options.host.empty()) {
        return Error(ErrorCode::invalid_argument,
                     "TLS: name the host, or each server of this authority is believed");
    }
    if (options.certificate_file.empty() != options.key_file.empty()) {
        return Error(ErrorCode::invalid_argument,
                     "TLS: a certificate and its key are named together");
    }
    auto loaded = std::make_shared<Loaded>();
    TRY_ASSIGN(loaded->context, make_context(TLS_client_method()));
    SSL_CTX* context = loaded->context.get();
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    if (!options.certificate_file.empty()) {
        TRY(load_identity(context, options.certificate_file, options.key_file));
    }
    if (!options.authority_file.empty()) TRY(load_authority(context, options.authority_file));
    if (!options.host.empty()) {
        X509_VERIFY_PARAM* wanted = SSL_CTX_get0_param(context);
        const int good =
            is_number_address(options.host)
                ? X509_VERIFY_PARAM_set1_ip_asc(wanted, options.host.c_str())
                : X509_VERIFY_PARAM_set1_host(wanted, options.host.c_str(), options.host.size());
        if (good != 1) {
            ERR_clear_error();
            return Error(ErrorCode::invalid_argument,
                         fmt::format("TLS: \"{}\" is no name of a host", options.host));
        }
    }
    if (!options.fingerprint.empty()) {
        TRY_ASSIGN(loaded->pin.fingerprint, parse_fingerprint(options.fingerprint));
        loaded->pin.with_authority = !options.authority_file.empty();
        SSL_CTX_set_cert_verify_callback(context, judge_pinned, &loaded->pin);
    }
    return std::shared_ptr<const Loaded>(std::move(loaded));
}

Result<SslPointer> TlsContext::Loaded::make(const Executor& executor) const {
    ERR_clear_error();
    SslPointer ssl(SSL_new(context.get()));
    if (ssl == nullptr) {
        return Error(ErrorCode::unsupported, "TLS: cannot begin: " + openssl_reason());
    }
    X509_VERIFY_PARAM_set_time(SSL_get0_param(ssl.get()),
                               static_cast<time_t>(executor.wall_ns() / 1'000'000'000));
    return ssl;
}

TlsContext::TlsContext(TlsServerOptions options) : is_server_(true), server_(std::move(options)) {}
TlsContext::TlsContext(TlsClientOptions options) : is_server_(false), client_(std::move(options)) {}
TlsContext::~TlsContext() = default;

Result<std::unique_ptr<TlsContext>> TlsContext::server(TlsServerOptions options) {
    std::unique_ptr<TlsContext> context(new TlsContext(std::move(options)));
    TRY(context->reload());
    return context;
}

Result<std::unique_ptr<TlsContext>> TlsContext::client(TlsClientOptions options) {
    std::unique_ptr<TlsContext> context(new TlsContext(std::move(options)));
    TRY(context->reload());
    return context;
}

Result<void> TlsContext::reload() {
    TRY_ASSIGN(loaded_, is_server_ ? Loaded::load(server_) : Loaded::load(client_));
    return {};
}

Task<Result<std::unique_ptr<Stream>>> TlsContext::accept(Executor& executor,
                                                         std::unique_ptr<Stream> plain) {
    CHECK(is_server_);
    const auto loaded = loaded_;
    CO_TRY_ASSIGN(SslPointer ssl, loaded->make(executor));
    SSL_set_accept_state(ssl.get());
    auto stream = std::make_unique<TlsStream>(executor, std::move(plain), loaded, std::move(ssl));
    CO_TRY(co_await stream->shake_hands());
    co_return std::unique_ptr<Stream>(std::move(stream));
}

Task<Result<std::unique_ptr<Stream>>> TlsContext::connect(Executor& executor,
                                                          std::unique_ptr<Stream> plain) {
    CHECK(!is_server_);
    const auto loaded = loaded_;
    CO_TRY_ASSIGN(SslPointer ssl, loaded->make(executor));
    SSL_set_connect_state(ssl.get());
    if (!client_.host.empty() && !is_number_address(client_.host)) {
        SSL_set_tlsext_host_name(ssl.get(), client_.host.c_str());
    }
    auto stream = std::make_unique<TlsStream>(executor, std::move(plain), loaded, std::move(ssl));
    CO_TRY(co_await stream->shake_hands());
    co_return std::unique_ptr<Stream>(std::move(stream));
}

}  // namespace stoa::io
