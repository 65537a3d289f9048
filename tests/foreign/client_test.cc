// The NBD client with nbdkit and QEMU: all it can do, with limits and errors of the server, over
// TLS, and while the server is killed and started again under load.
#include "dataplane/serve/nbd/client.h"

#include <array>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "dataplane/io/sim/random.h"
#include "dataplane/io/test_certificates.h"
#include "dataplane/io/test_directory.h"
#include "tests/foreign/server_process.h"

namespace stoa::foreigntest {
namespace {

using nbd::ClientOptions;
using nbd::NbdClient;
constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kMiB = 1 << 20;
using Words = std::vector<std::string>;

// Owns a part of a volume and knows what is in it.
struct Worker {
    uint64_t first_sector = 0;
    std::vector<uint8_t> sectors;  // what each is filled with

    io::Task<void> run(block::Volume& volume, uint64_t seed, int steps) {
        io::sim::Random random(seed);
        for (int step = 0; step < steps; ++step) {
            const size_t from = random.next() % sectors.size();
            size_t count = 1 + random.next() % 64;
            if (random.next() % 16 == 0) count = 1 + random.next() % sectors.size();
            count = std::min(count, sectors.size() - from);
            const uint64_t offset = (first_sector + from) * 512;
            Result<void> done;
            switch (random.next() % 8) {
                case 0:
                case 1: done = co_await expect(volume, from, count); break;
                case 2:
                    done = co_await volume.write_zeroes(offset, count * 512, {});
                    std::fill_n(sectors.begin() + static_cast<ptrdiff_t>(from), count, 0);
                    break;
                case 3: done = co_await volume.flush(); break;
                default: {
                    const auto value = static_cast<uint8_t>(random.next());
                    const std::vector<std::byte> bytes(count * 512, std::byte{value});
                    done = co_await volume.write(offset, bytes,
                                                 {.force_unit_access = random.next() % 8 == 0});
                    std::fill_n(sectors.begin() + static_cast<ptrdiff_t>(from), count, value);
                }
            }
            EXPECT_TRUE(done.ok()) << done.error().message();
        }
    }
    io::Task<Result<void>> expect(block::Volume& volume, size_t from, size_t count) {
        std::vector<std::byte> bytes(count * 512);
        CO_TRY(co_await volume.read((first_sector + from) * 512, bytes));
        size_t wrong = 0;
        for (size_t i = 0; i < bytes.size(); ++i) {
            if (bytes[i] != std::byte{sectors[from + i / 512]}) ++wrong;
        }
        EXPECT_EQ(wrong, 0U) << "in " << count << " sectors from " << first_sector + from;
        co_return Result<void>{};
    }
};

io::Task<void> work(io::Executor& executor, block::Volume& volume, uint64_t seed, int steps) {
    io::TaskGroup group(executor);
    const uint64_t total = volume.size_bytes() / 512;
    std::vector<Worker> workers(8);
    const uint64_t share = (total / workers.size()) | 1;  // not at the server's blocks
    for (size_t i = 0; i < workers.size(); ++i) {
        const uint64_t first = i * share;
        workers[i].first_sector = first;
        workers[i].sectors.resize(std::min(share, total - first));
        group.spawn(workers[i].run(volume, seed + i, steps));
    }
    co_await group.join();
    for (Worker& each : workers) {
        const auto same = co_await each.expect(volume, 0, each.sectors.size());
        EXPECT_TRUE(same.ok()) << same.error().message();
    }
}

// Until the work has ended.
io::Task<void> kill_often(io::Executor& executor, ServerProcess& server, const bool& ended,
                          int& kills) {
    while (!ended) {
        co_await executor.sleep_ns(kSecond / 8);
        server.kill();
        ++kills;
        co_await executor.sleep_ns(kSecond / 20);
        server.start();
    }
}

class ForeignTest : public ::testing::Test {
protected:
    std::string socket() { return directory_.file("it.socket"); }
    std::string file(const std::string& name) { return directory_.file(name); }
    ServerProcess& serve(Words words) {
        server_ = std::make_unique<ServerProcess>(std::move(words), socket());
        server_->start();
        EXPECT_TRUE(server_->wait_until_it_listens());
        return *server_;
    }
    ServerProcess& nbdkit(const Words& more) {
        Words words = {"nbdkit", "-f", "--exit-with-parent", "-U", socket()};
        words.insert(words.end(), more.begin(), more.end());
        return serve(std::move(words));
    }
    Result<std::unique_ptr<NbdClient>> open(ClientOptions options = {}) {
        options.address = {socket(), "", 0};
        return reactor_->run(NbdClient::open(*reactor_, options));
    }
    void close(std::unique_ptr<NbdClient> client) { reactor_->run(client->close()); }
    void make_file(const std::string& name, uint64_t size) {
        std::ofstream made(file(name), std::ios::binary);
        made.close();
        std::filesystem::resize_file(file(name), size);
    }
    void survive_kills(uint64_t seed) {
        auto opened = open({.server_keeps_acknowledged = true});
        ASSERT_TRUE(opened.ok()) << opened.error().message();
        int kills = 0;
        reactor_->run([](io::Executor& executor, NbdClient& client, ServerProcess& server,
                         uint64_t start, int& count) -> io::Task<void> {
            io::TaskGroup killer(executor);
            bool ended = false;
            killer.spawn(kill_often(executor, server, ended, count));
            while (count < 6) co_await work_again(executor, client, start);
            ended = true;
            co_await killer.join();
            co_await work_again(executor, client, start);
        }(*reactor_, **opened, *server_, seed, kills));
        EXPECT_GE((*opened)->reconnections(), 3U);
        close(*std::move(opened));
    }
    // From zeroes again.
    static io::Task<void> work_again(io::Executor& executor, NbdClient& client, uint64_t seed) {
        const auto zeroed = co_await client.write_zeroes(0, client.size_bytes(), {});
        EXPECT_TRUE(zeroed.ok()) << zeroed.error().message();
        co_await work(executor, client, seed, 150);
    }

    io::TestDirectory directory_;
    std::unique_ptr<io::Reactor> reactor_ = *io::Reactor::create();
    std::unique_ptr<ServerProcess> server_;
};

TEST_F(ForeignTest, nbdkit_serves_us_with_all_its_limits) {
    const std::vector<Words> kinds = {
        {"memory", "16M"},
        {"--no-sr", "memory", "16M"},
        {"--filter=nozero", "--filter=fua", "memory", "16M", "fuamode=emulate"},
        {"--filter=blocksize-policy", "memory", "16M", "blocksize-error-policy=error",
         "blocksize-minimum=4096", "blocksize-preferred=4096", "blocksize-maximum=65536"},
        {"--filter=blocksize-policy", "memory", "16M", "blocksize-error-policy=error",
         "blocksize-minimum=65536", "blocksize-preferred=65536", "blocksize-maximum=65536"},
        {"--filter=delay", "--filter=noparallel", "memory", "16M", "rdelay=1ms", "wdelay=1ms"},
        {"--mask-handshake=0", "memory", "16M"},
    };
    for (const Words& kind : kinds) {
        SCOPED_TRACE(kind.front() + " " + kind.back());
        nbdkit(kind);
        auto opened = open();
        if (kind.front() == "--mask-handshake=0") {
            EXPECT_EQ(opened.error().code(), ErrorCode::unsupported);
            continue;
        }
        ASSERT_TRUE(opened.ok()) << opened.error().message();
        EXPECT_EQ((*opened)->size_bytes(), 16 * kMiB);
        reactor_->run(work(*reactor_, **opened, 1, 60));
        EXPECT_EQ((*opened)->reconnections(), 0U);
        close(*std::move(opened));
    }
}

TEST_F(ForeignTest, errors_of_nbdkit_are_told_and_the_connection_goes_on) {
    nbdkit({"--filter=error", "memory", "1M", "error-pread=EIO", "error-pread-rate=50%",
            "error-pwrite=ENOSPC", "error-pwrite-rate=50%"});
    auto client = *open();
    std::array<int, 2> good{};
    std::vector<std::byte> bytes(4096);
    for (int i = 0; i < 100; ++i) {
        const auto read = reactor_->run(client->read(0, bytes));
        const auto written = reactor_->run(client->write(0, bytes, {}));
        good[0] += read.ok() ? 1 : 0;
        good[1] += written.ok() ? 1 : 0;
        if (!read.ok()) EXPECT_EQ(read.error().code(), ErrorCode::io);
        if (!written.ok()) EXPECT_EQ(written.error().code(), ErrorCode::no_space);
    }
    for (const int each : good) EXPECT_TRUE(each > 5 && each < 95) << each;
    EXPECT_EQ(client->reconnections(), 0U);
    close(std::move(client));
}

TEST_F(ForeignTest, a_server_too_slow_is_given_up) {
    nbdkit({"--filter=delay", "memory", "1M", "rdelay=3"});
    auto client = *open({.hold_ns = 0, .request_timeout_ns = kSecond / 2});
    std::vector<std::byte> bytes(4096);
    const uint64_t before = reactor_->now_ns();
    const auto late = reactor_->run(client->read(0, bytes));
    EXPECT_EQ(late.error().code(), ErrorCode::io);
    EXPECT_TRUE(late.error().message().contains("no answer within 500 ms"));
    EXPECT_LT(reactor_->now_ns() - before, 2 * kSecond);
    server_->kill();
    close(std::move(client));
}

TEST_F(ForeignTest, nbdkit_is_killed_under_load) {
    make_file("disk", 16 * kMiB);
    nbdkit({"file", file("disk")});
    survive_kills(100);
}

TEST_F(ForeignTest, qemu_nbd_is_killed_under_load) {
    make_file("disk", 16 * kMiB);
    serve({"qemu-nbd", "-k", socket(), "-t", "-f", "raw", file("disk")});
    survive_kills(200);
}

TEST_F(ForeignTest, qemu_storage_daemon_is_killed_under_load) {
    make_file("disk", 16 * kMiB);
    serve({"qemu-storage-daemon", "--blockdev", "driver=file,node-name=it,filename=" + file("disk"),
           "--nbd-server", "addr.type=unix,max-connections=0,addr.path=" + socket(), "--export",
           "type=nbd,id=it,node-name=it,name=,writable=on"});
    survive_kills(300);
}

TEST_F(ForeignTest, what_is_not_flushed_when_a_server_in_memory_is_killed_is_told) {
    ServerProcess& server = nbdkit({"memory", "1M"});
    auto client = *open();
    const std::vector<std::byte> bytes(4096, std::byte{1});
    EXPECT_TRUE(reactor_->run(client->write(0, bytes, {})).ok());
    server.kill();
    server.start();
    std::vector<std::byte> back(4096);
    EXPECT_TRUE(reactor_->run(client->read(0, back)).ok());
    EXPECT_EQ(back[0], std::byte{0});
    EXPECT_EQ(reactor_->run(client->flush()).error().code(), ErrorCode::io);
    EXPECT_TRUE(reactor_->run(client->flush()).ok());
    close(std::move(client));
}

TEST_F(ForeignTest, a_server_that_comes_back_with_another_disk_is_refused) {
    nbdkit({"memory", "1M"});
    auto client = *open();
    nbdkit({"memory", "2M"});
    std::vector<std::byte> bytes(4096);
    const auto failed = reactor_->run(client->read(0, bytes));
    EXPECT_TRUE(failed.error().message().contains("2097152 bytes were 1048576"));
    close(std::move(client));
}

TEST_F(ForeignTest, holes_and_dirty_bitmaps_of_qemu_are_seen) {
    ServerProcess create({"qemu-img", "create", "-q", "-f", "qcow2", file("disk"), "64M"},
                         file("create"));
    create.start();
    EXPECT_FALSE(create.wait_until_it_listens());  // it has ended
    ServerProcess bitmap({"qemu-img", "bitmap", "--add", "-f", "qcow2", file("disk"), "b0"},
                         file("bitmap"));
    bitmap.start();
    EXPECT_FALSE(bitmap.wait_until_it_listens());
    serve({"qemu-nbd", "-k", socket(), "-t", "-f", "qcow2", "-B", "b0", file("disk")});
    auto opened = open({.contexts = {"qemu:dirty-bitmap:b0", "stoa:unknown"}});
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    NbdClient& client = **opened;
    EXPECT_TRUE(client.has_context("qemu:dirty-bitmap:b0"));
    EXPECT_FALSE(client.has_context("stoa:unknown"));
    const std::vector<std::byte> bytes(kMiB, std::byte{7});
    EXPECT_TRUE(reactor_->run(client.write(8 * kMiB, bytes, {})).ok());
    const auto extents = reactor_->run(client.extents(0, 64 * kMiB, 100));
    ASSERT_TRUE(extents.ok()) << extents.error().message();
    ASSERT_EQ(extents->size(), 3U);
    EXPECT_EQ((*extents)[0].kind, block::ExtentKind::hole);
    EXPECT_EQ((*extents)[1].offset_bytes, 8 * kMiB);
    EXPECT_EQ((*extents)[1].length_bytes, kMiB);
    EXPECT_EQ((*extents)[1].kind, block::ExtentKind::data);
    EXPECT_EQ((*extents)[2].offset_bytes + (*extents)[2].length_bytes, 64 * kMiB);
    const auto dirty = reactor_->run(client.changed("qemu:dirty-bitmap:b0", 0, 64 * kMiB, 100));
    ASSERT_TRUE(dirty.ok()) << dirty.error().message();
    const std::vector<nbd::StatusRange> wanted = {
        {0, 8 * kMiB, 0}, {8 * kMiB, kMiB, 1}, {9 * kMiB, 55 * kMiB, 0}};
    EXPECT_EQ(*dirty, wanted);
    close(*std::move(opened));
}

TEST_F(ForeignTest, tls_with_gnutls_at_the_other_end) {
    io::TestCertificateOptions names;
    names.now_ns = reactor_->wall_ns();
    names.name = "authority";
    const io::TestCertificate authority(nullptr, names);
    authority.write_certificate(file("ca-cert.pem"));
    names.name = "server";
    names.alternative = "DNS:host.test";
    const io::TestCertificate server(&authority, names);
    server.write_certificate(file("server-cert.pem"));
    server.write_key(file("server-key.pem"));
    names.name = "client";
    const io::TestCertificate us(&authority, names);
    us.write_certificate(file("client.pem"));
    us.write_key(file("client.key"));
    nbdkit({"--tls=require", "--tls-verify-peer",
            "--tls-certificates=" + std::filesystem::path(file("x")).parent_path().string(),
            "memory", "16M"});
    EXPECT_EQ(open().error().code(), ErrorCode::invalid_argument);  // without TLS

    io::TlsClientOptions wishes;
    wishes.authority_file = file("ca-cert.pem");
    wishes.host = "host.test";
    const auto anonymous = *io::TlsContext::client(wishes);
    EXPECT_EQ(open({.tls = anonymous.get()}).error().code(), ErrorCode::io);
    wishes.certificate_file = file("client.pem");
    wishes.key_file = file("client.key");
    const auto tls = *io::TlsContext::client(wishes);
    auto opened = open({.tls = tls.get()});
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    reactor_->run(work(*reactor_, **opened, 5, 60));
    close(*std::move(opened));

    nbdkit({"--tls=off", "memory", "16M"});
    EXPECT_EQ(open({.tls = tls.get()}).error().code(), ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace stoa::foreigntest
