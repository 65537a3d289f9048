// The way back in, while stoad is stopped; see docs/howto/recover.md.
#include <cstdio>
#include <exception>
#include <iostream>
#include <optional>
#include <string>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "apps/stoad/commands.h"
#include "base/output.h"
#include "controlplane/access/certificates.h"
#include "controlplane/access/recovery.h"
#include "controlplane/host/instance.h"
#include "controlplane/host/random.h"
#include "controlplane/state/sqlite_store.h"

namespace stoa::apps::stoad {

namespace {

// The instance's lock is held meanwhile: no stoad can start.
struct Opened {
    host::Instance instance;
    std::unique_ptr<state::SqliteStore> store;
};

Async<Opened> open_state(const Options& options, host::Random& random) {
    const auto executor = co_await asio::this_coro::executor;
    auto instance = host::Instance::open(options.root);
    if (!instance.ok()) co_return instance.take_error();
    auto store = co_await state::SqliteStore::open(
        executor, {.path = instance->state_path("state.db"), .new_uuid = [&random] {
                       return Uuid::from_random(random.next(), random.next());
                   }});
    if (!store.ok()) co_return store.take_error();
    co_return Opened{*std::move(instance), *std::move(store)};
}

AsyncVoid recover(const Options& options, std::string user, std::string password,
                  std::optional<Result<void>>& result) {
    host::SystemClock clock;
    host::SystemRandom random;
    auto opened = co_await open_state(options, random);
    if (!opened.ok()) {
        result = opened.take_error();
        co_return;
    }
    auto records =
        co_await records::Records::open(co_await asio::this_coro::executor, *opened->store);
    if (records.ok()) {
        result = co_await access::recover_administrator(**records, *opened->store, clock, random,
                                                        std::move(user), std::move(password));
        co_await (*records)->close();
    } else {
        result = records.take_error();
    }
    co_await opened->store->close();
}

AsyncVoid restore(const Options& options, std::optional<Result<void>>& result) {
    host::SystemRandom random;
    auto opened = co_await open_state(options, random);
    if (!opened.ok()) {
        result = opened.take_error();
        co_return;
    }
    const auto tokens = co_await access::begin_restored(*opened->store);
    if (tokens.ok()) {
        print("done: nobody is logged in; {} tokens count: look whether they should\n", *tokens);
        result = Result<void>();
    } else {
        result = tokens.error();
    }
    co_await opened->store->close();
}

int finish(const Result<void>& result) {
    if (!result.ok()) {
        print_error("stoad: {}\n", result.error().message());
        return 1;
    }
    return finish_output("stoad") ? 0 : 1;
}

template <class Task>
int run(Task task, std::optional<Result<void>>& result) {
    asio::io_context loop(1);
    asio::co_spawn(loop, std::move(task), [](const std::exception_ptr& left) {
        if (left) std::rethrow_exception(left);
    });
    loop.run();
    return finish(*result);
}

}  // namespace

int recover_administrator(const Options& options, const std::string& user) {
    std::string password;
    std::getline(std::cin, password);
    if (password.empty()) {
        print_error("stoad: give the password on standard input\n");
        return 1;
    }
    std::optional<Result<void>> result;
    return run(recover(options, user, password, result), result);
}

int begin_restored(const Options& options) {
    std::optional<Result<void>> result;
    return run(restore(options, result), result);
}

int renew_certificate(const Options& options) {
    const auto instance = host::Instance::open(options.root);
    if (!instance.ok()) return finish(instance.error());
    const host::SystemClock clock;
    access::CertificateOptions wanted;
    wanted.directory = instance->state_path("tls");
    wanted.instance = instance->id();
    wanted.now_ns = clock.wall_ns();
    wanted.make_anew = true;
    const auto made = access::ensure_certificates(wanted);
    if (!made.ok()) return finish(made.error());
    print("the certificate is new; the authority's fingerprint is {}\n", made->fingerprint);
    return finish({});
}

}  // namespace stoa::apps::stoad
