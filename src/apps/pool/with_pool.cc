// Runs a command with the pool on the given devices open.
#include <fmt/format.h>

#include <cstdio>

#include "apps/pool/commands.h"
#include "apps/pool/engine.h"
#include "base/output.h"
#include "base/utf8.h"

namespace stoa::apps::pool {

namespace {

io::Task<Result<void>> open_and_act(Engine& engine, bool accept_missing, const PoolAction& action,
                                    int& exit_code) {
    stoa::pool::OpenOptions options;
    options.read_only = true;
    options.accept_missing_devices = accept_missing;
    options.events = [](const std::string& text) {
        stoa::print_error("note: {}\n", to_plain_text(text));
    };
    CO_TRY_ASSIGN(auto pool, co_await stoa::pool::Pool::open(engine.executor(), engine.devices(),
                                                             std::move(options)));
    exit_code = co_await action(*pool);
    co_return co_await pool->close();
}

}  // namespace

int with_pool(const std::vector<std::string>& paths, bool accept_missing,
              const PoolAction& action) {
    auto engine = Engine::open(paths, true);
    if (!engine) return fail(engine.error());
    int exit_code = kFailed;
    const auto result = (*engine)->run(open_and_act(**engine, accept_missing, action, exit_code));
    return result ? exit_code : fail_open(result.error());
}

}  // namespace stoa::apps::pool
