#include "apps/stoad/blockd_keeper.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/steady_timer.hpp>

#include "controlplane/host/files.h"
#include "controlplane/host/instance.h"

namespace stoa::apps::stoad {

namespace {

constexpr std::chrono::milliseconds kPoll{20};
constexpr int kPollsMax = 1500;
constexpr std::chrono::milliseconds kPauseFirst{100};
constexpr std::chrono::milliseconds kPauseMax{5000};

}  // namespace

BlockdKeeper::BlockdKeeper(asio::any_io_executor executor, BlockdKeeperOptions options)
    : executor_(std::move(executor)), options_(std::move(options)), scope_(executor_) {}

std::string BlockdKeeper::status_file() const { return options_.root + "/stoad/blockd.status"; }

Async<> BlockdKeeper::launch() {
    host::LaunchSpec spec;
    spec.program = options_.program;
    spec.arguments = {"--root", options_.root};
    spec.log = options_.root + "/stoad/blockd.log";
    spec.status = status_file();
    spec.oom_score_adjust = -900;
    spec.limits = {{"nofile", 65536, 65536}};
    spec.environment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
    auto launched = co_await host::launch(std::move(spec), {}, {.helper = options_.launch_helper});
    if (!launched.ok()) co_return launched.take_error();
    process_.emplace(std::move(launched->process));
    co_return Result<void>();
}

Async<> BlockdKeeper::start() {
    CO_TRY(host::make_directories(options_.root + "/stoad", 0711));
    const auto before = host::read_process_status(status_file());
    if (before.ok()) {
        auto process =
            host::Process::adopt(executor_, before->process, options_.root, status_file());
        if (process.ok()) process_.emplace(*std::move(process));
    }
    if (!process_) CO_TRY(co_await launch());
    asio::steady_timer timer(executor_);
    for (int i = 0; i < kPollsMax; ++i) {
        if (host::instance_id(options_.root).ok()) co_return Result<void>();
        if (process_->has_ended()) {
            const auto log = host::read_file(options_.root + "/stoad/blockd.log", 1 << 20);
            co_return Error(ErrorCode::io, fmt::format("stoa-blockd ended at once: {}",
                                                       log.ok() ? *log : "it said nothing"));
        }
        timer.expires_after(kPoll);
        const auto [cancelled] = co_await timer.async_wait(kAwait);
        if (cancelled) co_return failed("waiting for stoa-blockd", cancelled);
    }
    co_return Error(ErrorCode::timeout, "stoa-blockd was started and does not get ready");
}

void BlockdKeeper::keep() { scope_.spawn(follow()); }

AsyncVoid BlockdKeeper::follow() {
    std::chrono::milliseconds pause = kPauseFirst;
    asio::steady_timer timer(executor_);
    while (!scope_.closing()) {
        if (process_) {
            const auto ended = co_await process_->exited();
            if (!ended.ok() || scope_.closing()) co_return;
            options_.tell(fmt::format("stoa-blockd ended ({}) and is started again; guests wait",
                                      ended->to_string()));
            process_.reset();
        }
        const auto launched = co_await launch();
        if (scope_.closing()) co_return;
        if (launched.ok()) {
            pause = kPauseFirst;
            continue;
        }
        options_.tell("stoa-blockd could not be started: " + launched.error().message());
        timer.expires_after(pause);
        co_await timer.async_wait(kAwait);
        pause = std::min(pause * 2, kPauseMax);
    }
}

AsyncVoid BlockdKeeper::close() { co_await scope_.close(); }

}  // namespace stoa::apps::stoad
