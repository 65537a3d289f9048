// Who is let in, who is not and why; that what arrives is what was sent, or an error.
#include "dataplane/io/tls.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <vector>

#include <gtest/gtest.h>

#include "dataplane/io/memory_stream.h"
#include "dataplane/io/sim/simulator.h"
#include "dataplane/io/socket.h"
#include "dataplane/io/test_certificates.h"
#include "dataplane/io/test_directory.h"

namespace stoa::io {
namespace {

using Made = Result<std::unique_ptr<Stream>>;

// Changes or cuts what one end writes, from a byte on.
class Wiretap final : public Stream {
public:
    explicit Wiretap(std::unique_ptr<Stream> below) : below_(std::move(below)) {}
    Task<Result<size_t>> read_some(MutableBytes into) override { return below_->read_some(into); }
    Task<Result<void>> write(std::span<ConstBytes> parts) override {
        std::vector<std::byte> all;
        for (const ConstBytes part : parts) all.insert(all.end(), part.begin(), part.end());
        for (std::byte& each : all) {
            if (++written == tamper_at) each ^= std::byte{1};
        }
        co_return co_await write_all(*below_, all);
    }
    void shut_down() override { below_->shut_down(); }
    Task<void> hung_up() override { return below_->hung_up(); }
    [[nodiscard]] const std::string& peer() const override { return below_->peer(); }

    uint64_t written = 0;
    uint64_t tamper_at = 0;

private:
    const std::unique_ptr<Stream> below_;
};

std::vector<std::byte> pattern(size_t size, unsigned seed) {
    std::vector<std::byte> bytes(size);
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 251 + seed);
    return bytes;
}

struct Ends {
    Made client = Error(ErrorCode::io, "not made");
    Made server = Error(ErrorCode::io, "not made");
};

Task<void> make_end(Task<Made> making, Made& made) { made = co_await std::move(making); }

Task<void> shake(Executor& executor, TlsContext& client, TlsContext& server,
                 std::unique_ptr<Stream> near, std::unique_ptr<Stream> far, Ends& ends) {
    TaskGroup group(executor);
    group.spawn(make_end(server.accept(executor, std::move(far)), ends.server));
    group.spawn(make_end(client.connect(executor, std::move(near)), ends.client));
    co_await group.join();
}

Task<void> send(Stream& to, std::vector<std::byte> bytes) {
    // Parts of all sizes.
    std::vector<ConstBytes> parts;
    ConstBytes rest = bytes;
    for (size_t size = 1; !rest.empty(); size = size * 3 % 70'001) {
        parts.push_back(rest.first(std::min(size, rest.size())));
        rest = rest.subspan(parts.back().size());
        parts.emplace_back();
    }
    const auto written = co_await to.write(parts);
    EXPECT_TRUE(written.ok()) << written.error().message();
}

Task<void> expect(Stream& from, std::vector<std::byte> wanted) {
    std::vector<std::byte> got(wanted.size());
    const auto read = co_await read_exactly(from, got);
    EXPECT_TRUE(read.ok()) << read.error().message();
    EXPECT_TRUE(got == wanted);
}

// Both ways beside each other.
Task<void> exchange(Executor& executor, Stream& one, Stream& other, size_t size) {
    TaskGroup group(executor);
    group.spawn(send(one, pattern(size, 1)));
    group.spawn(send(other, pattern(size, 2)));
    group.spawn(expect(one, pattern(size, 2)));
    group.spawn(expect(other, pattern(size, 1)));
    co_await group.join();
}

class TlsTest : public ::testing::Test {
protected:
    TlsTest() {
        save(authority_, "authority");
        save(other_authority_, "other");
        save(server_, "server");
        save(client_, "client");
    }
    TestCertificateOptions named(const std::string& name, const std::string& alternative = "") {
        TestCertificateOptions options;
        options.name = name;
        options.alternative = alternative;
        options.now_ns = simulator_.wall_ns();
        return options;
    }
    void save(const TestCertificate& certificate, const std::string& name) {
        certificate.write_certificate(directory_.file(name + ".pem"));
        certificate.write_key(directory_.file(name + ".key"));
    }
    std::string file(const std::string& name) { return directory_.file(name); }
    std::unique_ptr<TlsContext> server(const std::string& name, const std::string& clients = "") {
        TlsServerOptions options{file(name + ".pem"), file(name + ".key"),
                                 clients.empty() ? "" : file(clients + ".pem")};
        auto made = TlsContext::server(options);
        EXPECT_TRUE(made.ok()) << made.error().message();
        return *std::move(made);
    }
    TlsClientOptions believing(const std::string& authority, const std::string& host) {
        TlsClientOptions options;
        options.authority_file = file(authority + ".pem");
        options.host = host;
        return options;
    }
    std::unique_ptr<TlsContext> client(const TlsClientOptions& options) {
        auto made = TlsContext::client(options);
        EXPECT_TRUE(made.ok()) << made.error().message();
        return *std::move(made);
    }
    Ends meet(TlsContext& from, TlsContext& to, MemoryStream::Options options = {}) {
        auto [near, far] = MemoryStream::create(simulator_, options);
        Ends ends;
        simulator_.run(shake(simulator_, from, to, std::move(near), std::move(far), ends));
        return ends;
    }
    // What the client learns when it comes to this server: at once, or with its first read.
    std::string complaint(TlsContext& from, TlsContext& to) {
        Ends ends = meet(from, to);
        if (!ends.client.ok()) return ends.client.error().message();
        std::array<std::byte, 1> byte{};
        ends.server = Error(ErrorCode::io, "gone");
        const auto read = simulator_.run((*ends.client)->read_some(byte));
        return read.ok() ? "none" : read.error().message();
    }

    sim::Simulator simulator_{1};
    TestDirectory directory_;
    const TestCertificate authority_{nullptr, named("authority")};
    const TestCertificate other_authority_{nullptr, named("other")};
    const TestCertificate server_{&authority_, named("server", "DNS:host.test,IP:127.0.0.1")};
    const TestCertificate client_{&authority_, named("client")};
};

TEST_F(TlsTest, what_is_sent_arrives_both_ways_at_once_however_it_is_cut) {
    auto from = client(believing("authority", "host.test"));
    auto to = server("server");
    for (const MemoryStream::Options options :
         {MemoryStream::Options{}, MemoryStream::Options{.buffered_bytes = 300, .piece_bytes = 1},
          MemoryStream::Options{.buffered_bytes = 20'000, .piece_bytes = 17}}) {
        Ends ends = meet(*from, *to, options);
        ASSERT_TRUE(ends.client.ok()) << ends.client.error().message();
        ASSERT_TRUE(ends.server.ok()) << ends.server.error().message();
        const size_t size = options.piece_bytes == 0 ? 3'000'000 : 200'000;
        simulator_.run(exchange(simulator_, **ends.client, **ends.server, size));
    }
}

TEST_F(TlsTest, what_is_sent_arrives_through_sockets) {
    const auto reactor = *Reactor::create();
    TestCertificateOptions now = named("server", "IP:127.0.0.1");
    now.now_ns = reactor->wall_ns();
    TestCertificateOptions signing = now;
    signing.name = "authority";
    const TestCertificate authority(nullptr, signing);
    save(authority, "authority");
    save(TestCertificate(&authority, now), "server");
    auto from = client(believing("authority", "127.0.0.1"));
    auto to = server("server");
    auto listener = *Listener::open(*reactor, Address{"", "127.0.0.1", 0});
    auto near = *reactor->run(Socket::connect(*reactor, listener->address(), 1'000'000'000));
    auto far = *reactor->run(listener->accept());
    Ends ends;
    reactor->run(shake(*reactor, *from, *to, std::move(near), std::move(far), ends));
    ASSERT_TRUE(ends.client.ok()) << ends.client.error().message();
    ASSERT_TRUE(ends.server.ok()) << ends.server.error().message();
    reactor->run(exchange(*reactor, **ends.client, **ends.server, 3'000'000));
}

TEST_F(TlsTest, an_orderly_end_reads_as_the_end_and_any_other_as_an_error) {
    auto from = client(believing("authority", "host.test"));
    auto to = server("server");
    std::array<std::byte, 8> buffer{};
    {
        Ends ends = meet(*from, *to);
        EXPECT_TRUE(simulator_.run((*ends.client)->finish()).ok());
        EXPECT_EQ(*simulator_.run((*ends.server)->read_some(buffer)), 0U);
        EXPECT_EQ(*simulator_.run((*ends.server)->read_some(buffer)), 0U);
        // The other direction goes on.
        simulator_.run(send(**ends.server, pattern(10, 1)));
        simulator_.run(expect(**ends.client, pattern(10, 1)));
    }
    Ends ends = meet(*from, *to);
    simulator_.run(send(**ends.client, pattern(4, 1)));
    ends.client = Error(ErrorCode::io, "gone");
    EXPECT_EQ(*simulator_.run((*ends.server)->read_some(buffer)), 4U);
    const auto cut = simulator_.run((*ends.server)->read_some(buffer));
    EXPECT_EQ(cut.error().code(), ErrorCode::io);
    EXPECT_TRUE(cut.error().message().contains("without ending TLS")) << cut.error().message();
}

TEST_F(TlsTest, a_byte_changed_on_the_way_is_found_wherever_it_is) {
    auto from = client(believing("authority", "host.test"));
    auto to = server("server");
    uint64_t total = 0;
    for (uint64_t at = 0; at == 0 || at <= total; at += at < 1000 ? 13 : 997) {
        auto [near, far] = MemoryStream::create(simulator_, {});
        auto tap = std::make_unique<Wiretap>(std::move(far));
        Wiretap& tapped = *tap;
        tapped.tamper_at = at;
        Ends ends;
        std::optional<Error> found;
        const auto talk = [](Executor& executor, TlsContext& client, TlsContext& server,
                             std::unique_ptr<Stream> one, std::unique_ptr<Stream> other, Ends& made,
                             std::optional<Error>& error) -> Task<void> {
            Stream& below = *one;
            TaskGroup group(executor);
            group.spawn(make_end(server.accept(executor, std::move(other)), made.server));
            made.client = co_await client.connect(executor, std::move(one));
            // Some changes make the client wait for more than will come, as the server does.
            if (made.client.ok()) {
                co_await group.join();
                if (made.server.ok()) {
                    group.spawn([](Stream& to) -> Task<void> {
                        co_await send(to, pattern(20'000, 1));
                        EXPECT_TRUE((co_await to.finish()).ok());
                    }(**made.server));
                    std::vector<std::byte> got(20'000);
                    const auto read = co_await read_exactly(**made.client, got);
                    if (!read.ok()) error = read.error();
                    else EXPECT_TRUE(got == pattern(20'000, 1));
                }
                static_cast<void>(below);
            }
            co_await group.join();
        };
        // It may also wait for more, if it was a length that was changed; then nothing is believed.
        auto task = talk(simulator_, *from, *to, std::move(near), std::move(tap), ends, found);
        if (!simulator_.try_run(std::move(task))) {
            tapped.shut_down();
            ASSERT_TRUE(simulator_.run_until_idle());
        }
        const bool whole = ends.client.ok() && ends.server.ok() && !found;
        EXPECT_EQ(whole, at == 0) << at;
        if (at == 0) total = 20'000;
    }
}

TEST_F(TlsTest, a_server_is_believed_only_with_the_right_certificate) {
    auto to = server("server");
    auto good = client(believing("authority", "127.0.0.1"));
    EXPECT_TRUE(meet(*good, *to).client.ok());
    auto stranger = client(believing("other", "host.test"));
    EXPECT_TRUE(complaint(*stranger, *to).contains("unknown authority"));
    auto elsewhere = client(believing("authority", "other.test"));
    EXPECT_TRUE(complaint(*elsewhere, *to).contains("another host"));

    TestCertificateOptions old = named("old", "DNS:host.test");
    old.ends_s = -60;
    save(TestCertificate(&authority_, old), "old");
    auto expired = server("old");
    auto named_host = client(believing("authority", "host.test"));
    Ends ends = meet(*named_host, *expired);
    EXPECT_TRUE(ends.client.error().message().contains("has expired"));
    EXPECT_EQ(ends.client.error().code(), ErrorCode::io);
    EXPECT_TRUE(ends.server.error().message().contains("the other end refuses: certificate exp"))
        << ends.server.error().message();

    TestCertificateOptions young = named("young", "DNS:host.test");
    young.begins_s = 60;
    save(TestCertificate(&authority_, young), "young");
    auto early = server("young");
    EXPECT_TRUE(complaint(*named_host, *early).contains("not valid yet"));
}

TEST_F(TlsTest, a_pinned_certificate_needs_no_authority) {
    TestCertificateOptions old = named("old");
    old.ends_s = -60;
    const TestCertificate alone(nullptr, old);
    save(alone, "alone");
    auto to = server("alone");
    TlsClientOptions options;
    options.fingerprint = alone.fingerprint();
    EXPECT_TRUE(meet(*client(options), *to).client.ok());
    std::erase(options.fingerprint, ':');
    std::ranges::transform(options.fingerprint, options.fingerprint.begin(), ::tolower);
    EXPECT_TRUE(meet(*client(options), *to).client.ok());
    // With an authority both count.
    options.authority_file = file("authority.pem");
    EXPECT_FALSE(meet(*client(options), *to).client.ok());
    options.authority_file.clear();
    options.fingerprint = server_.fingerprint();
    EXPECT_TRUE(complaint(*client(options), *to).contains("another fingerprint"));
}

TEST_F(TlsTest, clients_show_a_certificate_if_the_server_wants_one) {
    auto to = server("server", "authority");
    TlsClientOptions options = believing("authority", "host.test");
    auto nobody = client(options);
    EXPECT_TRUE(complaint(*nobody, *to).contains("refuses: "));
    EXPECT_TRUE(meet(*nobody, *to).server.error().message().contains("shows no certificate"));
    options.certificate_file = file("client.pem");
    options.key_file = file("client.key");
    auto known = client(options);
    EXPECT_TRUE(meet(*known, *to).server.ok());
    save(TestCertificate(&other_authority_, named("client")), "foreign");
    options.certificate_file = file("foreign.pem");
    options.key_file = file("foreign.key");
    auto foreign = client(options);
    EXPECT_TRUE(meet(*foreign, *to).server.error().message().contains("unknown authority"));
    EXPECT_TRUE(complaint(*foreign, *to).contains("refuses: unknown CA"));
}

TEST_F(TlsTest, certificates_are_read_again_without_touching_what_is_connected) {
    auto from = client(believing("authority", "host.test"));
    auto from_other = client(believing("other", "host.test"));
    auto to = server("server");
    Ends before = meet(*from, *to);
    ASSERT_TRUE(before.client.ok());
    save(TestCertificate(&other_authority_, named("new", "DNS:host.test")), "server");
    EXPECT_TRUE(meet(*from, *to).client.ok());
    ASSERT_TRUE(to->reload().ok());
    EXPECT_FALSE(meet(*from, *to).client.ok());
    EXPECT_TRUE(meet(*from_other, *to).client.ok());
    std::ofstream(file("server.pem")) << "nonsense";
    const auto reloaded = to->reload();
    EXPECT_EQ(reloaded.error().code(), ErrorCode::invalid_argument);
    EXPECT_TRUE(reloaded.error().message().contains("server.pem")) << reloaded.error().message();
    EXPECT_TRUE(meet(*from_other, *to).client.ok());
    to.reset();
    from.reset();
    simulator_.run(exchange(simulator_, **before.client, **before.server, 1000));
}

TEST_F(TlsTest, options_that_would_believe_anybody_or_name_no_file_are_refused) {
    EXPECT_EQ(TlsContext::client({}).error().code(), ErrorCode::invalid_argument);
    EXPECT_EQ(TlsContext::client(believing("authority", "")).error().code(),
              ErrorCode::invalid_argument);
    TlsClientOptions options;
    options.fingerprint = "12:34";
    EXPECT_EQ(TlsContext::client(options).error().code(), ErrorCode::invalid_argument);
    EXPECT_EQ(TlsContext::client(believing("absent", "host.test")).error().code(),
              ErrorCode::not_found);
    const TlsServerOptions mixed{file("server.pem"), file("client.key"), ""};
    EXPECT_EQ(TlsContext::server(mixed).error().code(), ErrorCode::invalid_argument);
}

TEST_F(TlsTest, shutting_down_ends_what_waits) {
    auto from = client(believing("authority", "host.test"));
    auto to = server("server");
    Ends ends = meet(*from, *to);
    simulator_.run([](Executor& executor, Stream& stream) -> Task<void> {
        TaskGroup group(executor);
        group.spawn([](Stream& reading) -> Task<void> {
            std::array<std::byte, 1> byte{};
            EXPECT_EQ((co_await reading.read_some(byte)).error().code(), ErrorCode::cancelled);
        }(stream));
        group.spawn([](Stream& writing) -> Task<void> {
            const std::vector<std::byte> more(1'000'000);
            EXPECT_EQ((co_await write_all(writing, more)).error().code(), ErrorCode::cancelled);
        }(stream));
        co_await executor.yield();
        stream.shut_down();
        co_await group.join();
    }(simulator_, **ends.client));
}

TEST_F(TlsTest, what_is_no_tls_at_all_is_refused) {
    auto to = server("server");
    auto [near, far] = MemoryStream::create(simulator_, {});
    const std::vector<std::byte> text(500, std::byte{'A'});
    EXPECT_TRUE(simulator_.run(write_all(*near, text)).ok());
    near->shut_down();
    const auto refused = simulator_.run(to->accept(simulator_, std::move(far)));
    EXPECT_EQ(refused.error().code(), ErrorCode::io);
}

}  // namespace
}  // namespace stoa::io
