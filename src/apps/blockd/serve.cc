// The daemon: builds the objects, runs them until it is told to stop.
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <signal.h>

#include <cstdio>
#include <ctime>
#include <optional>
#include <thread>

#include "apps/blockd/commands.h"
#include "apps/blockd/notify.h"
#include "base/output.h"
#include "dataplane/service/control.h"
#include "dataplane/service/service.h"

namespace stoa::apps::blockd {

namespace {

// Waits for a signal in a thread of its own and wakes the reactor.
class StopSignal final : public io::Continuation {
public:
    // The signals are blocked in all threads from now on.
    explicit StopSignal(io::Reactor& reactor) : reactor_(reactor), stopped_(reactor) {
        sigemptyset(&signals_);
        for (const int number : {SIGTERM, SIGINT, SIGUSR1}) sigaddset(&signals_, number);
        pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
        ::signal(SIGPIPE, SIG_IGN);
        thread_ = std::jthread([this] {
            int number = 0;
            sigwait(&signals_, &number);
            reactor_.post_from_other_thread(*this);
        });
    }
    StopSignal(const StopSignal&) = delete;
    StopSignal& operator=(const StopSignal&) = delete;
    ~StopSignal() {
        if (!arrived_) pthread_kill(thread_.native_handle(), SIGUSR1);
    }

    void resume() override {
        arrived_ = true;
        stop();
    }
    void stop() {
        requested_ = true;
        stopped_.notify_all();
    }
    io::Task<void> wait() {
        while (!requested_) co_await stopped_.wait();
    }

private:
    io::Reactor& reactor_;
    io::Condition stopped_;
    sigset_t signals_{};
    std::jthread thread_;
    bool arrived_ = false;
    bool requested_ = false;
};

int fail(const Error& error) {
    print_error("stoa-blockd: {}\n", error.message());
    return kFailed;
}

void log(const rpc::Event& event) {
    const auto seconds = static_cast<std::time_t>(event.time_ns / 1'000'000'000);
    print_error("{:%Y-%m-%dT%H:%M:%S}Z {}\n", fmt::gmtime(seconds), event.text);
    std::fflush(stderr);
}

io::Task<Result<void>> run(service::Service& service, service::Control& control, StopSignal& stop) {
    service.start();
    CO_TRY(control.start());
    service.events().add(fmt::format("daemon: listens on {}", service.control_path()));
    notify_manager("READY=1");
    co_await stop.wait();
    notify_manager("STOPPING=1");
    service.events().add("daemon: stopping");
    co_await control.stop();
    co_return Result<void>{};
}

}  // namespace

int serve(const ServeOptions& options) {
    auto reactor = io::Reactor::create();
    if (!reactor.ok()) return fail(reactor.error());
    StopSignal stop(**reactor);
    service::ServiceOptions with;
    with.root = options.root;
    with.runtime = options.runtime;
    with.pools.cache_bytes = options.cache_bytes;
    with.version = STOA_VERSION;
    auto service = service::Service::create(**reactor, with);
    if (!service.ok()) return fail(service.error());
    (*service)->events().subscribe(log);
    (*service)->on_stop_request([&stop] { stop.stop(); });
    service::Control control(**reactor, **service);
    const auto ran = (*reactor)->run(run(**service, control, stop));
    const auto stopped = (*reactor)->run((*service)->stop());
    (*service)->events().add("daemon: stopped");
    if (!ran.ok()) return fail(ran.error());
    return stopped.ok() ? kDone : fail(stopped.error());
}

}  // namespace stoa::apps::blockd
