// The API with 10,000 records: how fast it starts, how much memory it takes when idle, and how long
// requests take: 80 % one record, 15 % a list of 100, 5 % an update, from 16 clients by the Unix
// socket, with one watcher. Goals: start under 300 ms, idle under 40 MB, p99 under 20 ms.
#include <atomic>
#include <fstream>
#include <random>

#include <benchmark/benchmark.h>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/websocket/stream.hpp>

#include "controlplane/api/test_api.h"
#include "controlplane/http/test_server.h"

namespace stoa::api {
namespace {

constexpr int kRecords = 10'000;
constexpr int kClients = 16;
constexpr int kRequestsEach = 1'000;

double now_seconds() {
    const host::SystemClock clock;
    return static_cast<double>(clock.monotonic_ns()) / 1e9;
}

double resident_megabytes() {
    std::ifstream file("/proc/self/statm");
    uint64_t all = 0;
    uint64_t resident = 0;
    file >> all >> resident;
    return static_cast<double>(resident) * static_cast<double>(getpagesize()) / 1e6;
}

std::string name_of(int number) { return fmt::format("vm-{}", number); }

AsyncVoid make_records(records::Records& records) {
    host::SystemRandom random;
    for (int first = 0; first < kRecords; first += 25) {
        state::Txn txn;
        for (int i = first; i < first + 25; ++i) {
            model::Record<model::Vm> record;
            record.id = model::make_id(int64_t{1'700'000'000'000'000'000} + i * 1'000'000LL,
                                       random.next(), random.next());
            record.name = name_of(i);
            record.labels = {{"tier", i % 3 == 0 ? "gold" : "iron"}, {"team", "web"}};
            model::VmDisk disk;
            disk.name = "root";
            disk.volume = record.id;
            record.spec.disks.push_back(std::move(disk));
            model::VmNic nic;
            nic.name = "eth0";
            nic.mac = "52:54:00:00:00:01";
            record.spec.nics.push_back(std::move(nic));
            records::create(txn, record);
        }
        CHECK((co_await records.commit(std::move(txn))).ok());
    }
}

// Reads one record, a list, or changes one; gives how long that took.
double one_request(http::RawClient& client, std::mt19937& random) {
    const int number = static_cast<int>(random() % kRecords);
    const auto kind = random() % 100;
    std::string request;
    if (kind < 80) {
        request = fmt::format("GET /v1/vms/{} HTTP/1.1\r\nHost: x\r\n\r\n", name_of(number));
    } else if (kind < 95) {
        request = "GET /v1/vms?limit=100 HTTP/1.1\r\nHost: x\r\n\r\n";
    } else {
        const std::string body = fmt::format(R"({{"cpus":{}}})", 1 + random() % 8);
        request =
            fmt::format("PATCH /v1/vms/{} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{}",
                        name_of(number), body.size(), body);
    }
    const double start = now_seconds();
    const std::string answer = client.ask(request);
    // Another client may just have changed the same one.
    CHECK(answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.1 409"));
    return now_seconds() - start;
}

// Until the server ends it; counts messages.
void watch_all(const std::string& path, std::atomic<int>& messages) {
    asio::io_context loop;
    boost::beast::websocket::stream<asio::local::stream_protocol::socket> stream(loop);
    boost::system::error_code error;
    stream.next_layer().connect(path);
    stream.handshake("stoa", "/v1/watch", error);
    while (!error) {
        boost::beast::flat_buffer buffer;
        stream.read(buffer, error);
        if (!error) ++messages;
    }
}

double percentile(const std::vector<double>& sorted, double share) {
    return sorted.at(static_cast<size_t>(share * static_cast<double>(sorted.size() - 1)));
}

void BM_api_with_10000_records(benchmark::State& state) {
    const records::TestDirectory directory;
    {
        TestApi api(directory.path());
        api.run(make_records(api.records()));
    }
    for ([[maybe_unused]] auto _ : state) {
        const double before = now_seconds();
        auto api = std::make_unique<TestApi>(directory.path());
        http::RawClient first(api->socket_path());
        CHECK(!first.ask("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").empty());
        state.counters["start_ms"] = (now_seconds() - before) * 1e3;
        state.counters["idle_MB"] = resident_megabytes();

        std::atomic<int> messages = 0;
        std::thread watcher(watch_all, api->socket_path(), std::ref(messages));
        std::vector<std::vector<double>> seconds(kClients);
        std::vector<std::thread> clients;
        const double start = now_seconds();
        for (int i = 0; i < kClients; ++i) {
            clients.emplace_back([&, i] {
                http::RawClient client(api->socket_path());
                std::mt19937 random(static_cast<uint32_t>(i));
                for (int k = 0; k < kRequestsEach; ++k) {
                    seconds.at(static_cast<size_t>(i)).push_back(one_request(client, random));
                }
            });
        }
        for (std::thread& client : clients) client.join();
        const double took = now_seconds() - start;
        std::vector<double> all;
        for (const auto& some : seconds) all.insert(all.end(), some.begin(), some.end());
        std::ranges::sort(all);
        state.counters["requests_per_s"] = static_cast<double>(all.size()) / took;
        state.counters["p50_ms"] = percentile(all, 0.5) * 1e3;
        state.counters["p99_ms"] = percentile(all, 0.99) * 1e3;
        state.counters["max_ms"] = all.back() * 1e3;
        state.counters["after_MB"] = resident_megabytes();
        api.reset();
        watcher.join();
        state.counters["watched"] = messages.load();
    }
}
BENCHMARK(BM_api_with_10000_records)->Iterations(1)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace stoa::api
