// The conformance suite against SQLite, and against a real etcd, which the test starts and stops.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "controlplane/state/conformance.h"
#include "controlplane/state/sqlite_store.h"
#include "controlplane/state/test_directory.h"
#include "controlplane/state/test_etcd_store.h"

namespace stoa::state {
namespace {

constexpr const char* kProgram = "/usr/bin/etcd";

StoreUnderTest make_sqlite(asio::io_context& loop) {
    auto directory = std::make_shared<TestDirectory>();
    SqliteOptions options;
    options.path = directory->file("s.db");
    options.new_uuid = [] { return Uuid::from_random(1, 1); };
    auto store = run_on(loop, SqliteStore::open(loop.get_executor(), std::move(options)));
    EXPECT_TRUE(store.ok()) << store.error().message();
    return {directory, *std::move(store)};
}

INSTANTIATE_TEST_SUITE_P(Sqlite, StoreConformance, ::testing::Values(&make_sqlite));

// One for all tests: each takes a part of its keys for itself.
class Etcd {
public:
    static Etcd& instance() {
        static Etcd only;
        return only;
    }
    Etcd() = default;
    Etcd(const Etcd&) = delete;
    Etcd& operator=(const Etcd&) = delete;
    ~Etcd() {
        if (process_ < 0) return;
        static_cast<void>(kill(process_, SIGKILL));
        static_cast<void>(waitpid(process_, nullptr, 0));
        std::error_code ignored;
        std::filesystem::remove_all(directory_, ignored);
    }

    // Starts it when the first test needs it.
    uint16_t port() {
        if (process_ < 0) start();
        return port_;
    }
    int next_test() { return ++tests_; }

private:
    static uint16_t free_port() {
        asio::io_context loop;
        const etcd::Tcp::acceptor acceptor(loop, {asio::ip::address_v4::loopback(), 0});
        return acceptor.local_endpoint().port();
    }
    void start() {
        directory_ = std::filesystem::temp_directory_path() / "stoa-etcd-XXXXXX";
        ASSERT_NE(mkdtemp(directory_.data()), nullptr);
        port_ = free_port();
        const std::string client = fmt::format("http://127.0.0.1:{}", port_);
        const std::string peer = fmt::format("http://127.0.0.1:{}", free_port());
        const std::string cluster = "default=" + peer;
        const std::vector<const char*> arguments = {kProgram,
                                                    "--data-dir",
                                                    directory_.c_str(),
                                                    "--listen-client-urls",
                                                    client.c_str(),
                                                    "--advertise-client-urls",
                                                    client.c_str(),
                                                    "--listen-peer-urls",
                                                    peer.c_str(),
                                                    "--initial-advertise-peer-urls",
                                                    peer.c_str(),
                                                    "--initial-cluster",
                                                    cluster.c_str(),
                                                    "--election-timeout",
                                                    "1000",
                                                    "--heartbeat-interval",
                                                    "100",
                                                    nullptr};
        // tidy: allow syscall: the server must die with the test
        process_ = fork();
        ASSERT_GE(process_, 0);
        if (process_ == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            // tidy: allow syscall: its log is of no interest
            const int log = ::open("/dev/null", O_WRONLY);
            dup2(log, STDERR_FILENO);
            // tidy: allow syscall: as above
            execv(kProgram, const_cast<char* const*>(arguments.data()));
            _exit(127);
        }
    }

    std::string directory_;
    uint16_t port_ = 0;
    pid_t process_ = -1;
    int tests_ = 0;
};

AsyncVoid open_when_ready(asio::any_io_executor executor, EtcdStore::Options options,
                          std::unique_ptr<Store>& into) {
    for (int trial = 0; trial < 600; ++trial) {
        auto store = co_await EtcdStore::open(executor, options);
        if (store.ok()) {
            into = *std::move(store);
            co_return;
        }
        asio::steady_timer timer(executor, std::chrono::milliseconds(50));
        co_await timer.async_wait(kAwait);
    }
}

StoreUnderTest make_etcd(asio::io_context& loop) {
    Etcd& etcd = Etcd::instance();
    const EtcdStore::Options options{etcd.port(), fmt::format("/stoa/{}", etcd.next_test()),
                                     Uuid::from_random(1, 1)};
    StoreUnderTest made;
    run_on(loop, open_when_ready(loop.get_executor(), options, made.store));
    CHECK(made.store != nullptr);
    return made;
}

INSTANTIATE_TEST_SUITE_P(Etcd, StoreConformance, ::testing::Values(&make_etcd));

TEST(EtcdStoreTest, its_epoch_is_that_of_whoever_came_first) {
    asio::io_context loop;
    Etcd& etcd = Etcd::instance();
    const std::string root = fmt::format("/stoa/{}", etcd.next_test());
    for (uint64_t i = 1; i <= 2; ++i) {
        std::unique_ptr<Store> store;
        run_on(loop, open_when_ready(loop.get_executor(),
                                     {etcd.port(), root, Uuid::from_random(i, i)}, store));
        ASSERT_NE(store, nullptr);
        EXPECT_EQ(store->epoch(), Uuid::from_random(1, 1));
        run_on(loop, store->close());
    }
}

}  // namespace
}  // namespace stoa::state
