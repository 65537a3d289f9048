// The daemon's life: start, wait for a signal, end.
#include <unistd.h>

#include <climits>
#include <csignal>
#include <exception>
#include <optional>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include "apps/stoad/commands.h"
#include "apps/stoad/daemon.h"
#include "apps/stoad/log.h"
#include "apps/stoad/notify.h"

namespace stoa::apps::stoad {

namespace {

AsyncVoid run(Daemon& daemon, host::Clock& clock, int& code) {
    asio::signal_set signals(co_await asio::this_coro::executor, SIGTERM, SIGINT);
    const auto started = co_await daemon.start();
    if (started.ok()) {
        notify_manager("READY=1");
        co_await signals.async_wait(kAwait);
        notify_manager("STOPPING=1");
        log(clock, Level::info, "stoad is stopped; guests go on");
    } else {
        log(clock, Level::error, started.error().message());
        code = 1;
    }
    co_await daemon.close();
}

}  // namespace

int serve(const Options& options) {
    asio::io_context loop(1);
    host::SystemClock clock;
    int code = 0;
    {
        Daemon daemon(loop, options, clock);
        asio::co_spawn(loop, run(daemon, clock, code), [](const std::exception_ptr& left) {
            if (left) std::rethrow_exception(left);
        });
        loop.run();
    }
    return code;
}

std::string own_program(const char* name) {
    char path[PATH_MAX];
    const ssize_t length = ::readlink("/proc/self/exe", path, sizeof path);
    return length > 0 ? std::string(path, static_cast<size_t>(length)) : std::string(name);
}

}  // namespace stoa::apps::stoad
