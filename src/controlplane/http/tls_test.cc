#include "controlplane/http/tls.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/ssl/stream.hpp>

#include "controlplane/http/test_server.h"

namespace stoa::http {
namespace {

using Tcp = asio::ip::tcp;

struct Pair {
    std::string certificate;
    std::string key;
};

std::string text_of(BIO* memory) {
    char* bytes = nullptr;
    const long count = BIO_get_mem_data(memory, &bytes);
    std::string text(bytes, static_cast<size_t>(count));
    BIO_free(memory);
    return text;
}

// Signs itself.
Pair make_pair(const std::string& common_name) {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* certificate = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME* name = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1,
                               0);
    X509_set_issuer_name(certificate, name);
    X509_sign(certificate, key, EVP_sha256());
    BIO* certificate_text = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(certificate_text, certificate);
    BIO* key_text = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(key_text, key, nullptr, nullptr, 0, nullptr, nullptr);
    Pair pair{.certificate = text_of(certificate_text), .key = text_of(key_text)};
    X509_free(certificate);
    EVP_PKEY_free(key);
    return pair;
}

std::shared_ptr<const TlsContext> context_of(const Pair& pair) {
    auto context = TlsContext::create(pair.certificate, pair.key);
    EXPECT_TRUE(context.ok()) << context.error().message();
    return *std::move(context);
}

// Blocking; trusts anybody, and tells whom it spoke with.
class TlsClient {
public:
    explicit TlsClient(uint16_t port)
        : context_(asio::ssl::context::tls_client), stream_(loop_, context_) {
        stream_.next_layer().connect({asio::ip::make_address("127.0.0.1"), port}, error_);
        if (!error_) stream_.handshake(asio::ssl::stream_base::client, error_);
    }
    std::string server_name() {
        X509* certificate = SSL_get1_peer_certificate(stream_.native_handle());
        std::array<char, 100> name{};
        X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name.data(),
                                  static_cast<int>(name.size()));
        X509_free(certificate);
        return name.data();
    }
    std::string ask(std::string_view path) {
        const std::string request = fmt::format("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", path);
        asio::write(stream_, asio::buffer(request), error_);
        std::array<char, 4096> piece{};
        const size_t count = stream_.read_some(asio::buffer(piece), error_);
        return {piece.data(), count};
    }
    [[nodiscard]] const boost::system::error_code& error() const { return error_; }
    asio::ssl::stream<Tcp::socket>& stream() { return stream_; }

private:
    asio::io_context loop_;
    asio::ssl::context context_;
    asio::ssl::stream<Tcp::socket> stream_;
    boost::system::error_code error_;
};

uint16_t listen(TestServer& server, const Pair& pair) {
    uint16_t port = 0;
    server.call([&](Server& one) {
        const auto result = one.listen_tcp("127.0.0.1", 0, context_of(pair));
        EXPECT_TRUE(result.ok()) << result.error().message();
        port = *result;
        EXPECT_EQ(one.tcp_port(), port);
    });
    return port;
}

TEST(Tls, serves_and_knows_no_user_behind_the_address) {
    TestServer server;
    TlsClient client(listen(server, make_pair("one")));
    EXPECT_EQ(client.server_name(), "one");
    EXPECT_EQ(body_of(client.ask("/peer")), "{\"uid\":4294967295,\"address\":\"127.0.0.1\"}\n");
    EXPECT_EQ(body_of(client.ask("/hello")), "{\"hello\":\"world\"}\n");
}

TEST(Tls, a_renewed_certificate_counts_for_new_connections) {
    TestServer server;
    const uint16_t port = listen(server, make_pair("one"));
    TlsClient before(port);
    EXPECT_NE(before.ask("/hello"), "");
    server.call([](Server& one) { one.set_tls(context_of(make_pair("two"))); });
    TlsClient after(port);
    EXPECT_EQ(after.server_name(), "two");
    EXPECT_EQ(body_of(before.ask("/hello")), "{\"hello\":\"world\"}\n");
}

TEST(Tls, who_speaks_no_tls_or_nothing_is_dropped) {
    TestServer server({.handshake_limit = std::chrono::milliseconds(100)});
    const uint16_t port = listen(server, make_pair("one"));
    asio::io_context loop;
    for (const std::string_view text : {"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n", ""}) {
        Tcp::socket plain(loop);
        plain.connect({asio::ip::make_address("127.0.0.1"), port});
        asio::write(plain, asio::buffer(text.data(), text.size()));
        std::string all;
        boost::system::error_code error;
        asio::read(plain, asio::dynamic_buffer(all), error);
        EXPECT_EQ(all.find("HTTP/1.1 200"), std::string::npos);
    }
    EXPECT_EQ(server.service().handled, 0);
}

TEST(Tls, other_machines_are_refused_until_they_are_allowed) {
    bool allowed = false;
    TestServer server({.remote_allowed = [&] { return allowed; }});
    const Pair pair = make_pair("one");
    server.call([&](Server& one) {
        EXPECT_EQ(one.listen_tcp("0.0.0.0", 0, context_of(pair)).error().code(), ErrorCode::denied);
        EXPECT_EQ(one.listen_tcp("localhost", 0, context_of(pair)).error().code(),
                  ErrorCode::invalid_argument);
        EXPECT_EQ(one.tcp_port(), 0);
        EXPECT_TRUE(one.listen_tcp("::1", 0, context_of(pair)).ok());
        allowed = true;
        EXPECT_TRUE(one.listen_tcp("0.0.0.0", 0, context_of(pair)).ok());
    });
}

TEST(Tls, a_key_of_another_certificate_is_refused) {
    EXPECT_FALSE(TlsContext::create(make_pair("a").certificate, make_pair("b").key).ok());
    EXPECT_FALSE(TlsContext::create("", "").ok());
    EXPECT_FALSE(TlsContext::create("nonsense", make_pair("b").key).ok());
}

}  // namespace
}  // namespace stoa::http
