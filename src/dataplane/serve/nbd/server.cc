#include "dataplane/serve/nbd/server.h"

#include <algorithm>
#include <utility>

namespace stoa::nbd {

namespace {
constexpr uint64_t kWatchEveryNs = 100'000'000;
constexpr uint64_t kPauseNs = 1'000'000'000;  // of the whole process: longer than it ever takes
}  // namespace

struct Server::Connection {
    uint64_t began_ns = 0;
    io::Stream* stream = nullptr;  // during the handshake
    Session* session = nullptr;    // after it

    void cut() const {
        if (session != nullptr) session->cut();
        else if (stream != nullptr) stream->shut_down();
    }
};

Server::Server(io::Executor& executor, const ExportTable& exports, Buffers& buffers,
               ServerOptions options)
    : executor_(executor), exports_(exports), buffers_(buffers), options_(options),
      tasks_(executor), to_watch_(executor), left_(executor) {
    tasks_.spawn(watch());
}

Server::~Server() { CHECK(stopping_ && connections_.empty()); }

void Server::start(std::unique_ptr<io::Listener> listener) {
    CHECK(listener_ == nullptr && !stopping_);
    listener_ = std::move(listener);
    tasks_.spawn(accept_clients());
}

io::Task<void> Server::accept_clients() {
    while (true) {
        auto client = co_await listener_->accept();
        if (stopping_) co_return;
        if (client.ok()) serve(*std::move(client));
        else if (client.error().code() == ErrorCode::busy) ++counters_.refused;
        // Nothing that a client does makes accepting fail; should it fail, it must not spin.
        else co_await executor_.sleep_ns(kWatchEveryNs);
    }
}

void Server::serve(std::unique_ptr<io::Stream> stream) {
    if (stopping_ || connections_.size() >= options_.connections_max) {
        ++counters_.refused;
        return;
    }
    tasks_.spawn(attend(std::move(stream)));
}

io::Task<void> Server::attend(std::unique_ptr<io::Stream> stream) {
    Connection connection;
    connection.began_ns = executor_.now_ns();
    connections_.push_back(&connection);
    counters_.connections = connections_.size();
    ++counters_.connections_total;
    to_watch_.notify_all();
    auto negotiated =
        co_await shake_hands(std::move(stream), exports_, options_.handshake,
                             [&connection](io::Stream* in_use) { connection.stream = in_use; });
    connection.stream = nullptr;
    if (!negotiated.ok()) ++counters_.handshakes_failed;
    // Whoever comes back may write what he had asked for before: the old request must not end
    // later.
    const auto is_gone = [](const Connection* each) {
        return each->session != nullptr && each->session->is_gone();
    };
    while (!stopping_ && std::ranges::any_of(connections_, is_gone)) co_await left_.wait();
    if (negotiated.ok() && negotiated->exported != nullptr && !stopping_) {
        Session session(executor_, *std::move(negotiated), buffers_, counters_, trace_,
                        next_number_++);
        connection.session = &session;
        // How it ended concerns the client alone, which knows.
        static_cast<void>(co_await session.run());
        connection.session = nullptr;
    }
    std::erase(connections_, &connection);
    left_.notify_all();
    counters_.connections = connections_.size();
}

// Cuts off who does not choose. Ticks only while there is somebody to watch.
io::Task<void> Server::watch() {
    uint64_t last = executor_.now_ns();
    while (!stopping_) {
        const uint64_t now = executor_.now_ns();
        // A process that was stopped has not heard what they said meanwhile.
        const bool was_stopped = now - std::exchange(last, now) >= kPauseNs;
        bool anybody = false;
        for (Connection* each : connections_) {
            if (each->session != nullptr) continue;
            anybody = true;
            if (was_stopped) each->began_ns = now;
            if (now - each->began_ns >= options_.handshake_ns) each->cut();
        }
        if (anybody) {
            co_await executor_.sleep_ns(kWatchEveryNs);
        } else {
            co_await to_watch_.wait();
            last = executor_.now_ns();
        }
    }
}

io::Task<void> Server::stop() {
    stopping_ = true;
    if (listener_ != nullptr) listener_->shut_down();
    to_watch_.notify_all();
    left_.notify_all();
    for (const Connection* each : connections_) each->cut();
    co_await tasks_.join();
}

}  // namespace stoa::nbd
