#include "controlplane/api/watch.h"

#include <charconv>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include <boost/asio/this_coro.hpp>

#include "controlplane/api/record_routes.h"
#include "controlplane/async/scope.h"
#include "controlplane/async/signal.h"

namespace stoa::api {

namespace {

using http::CloseCode;
using http::Socket;

std::string_view word_of(records::ChangeOf change) {
    switch (change) {
        case records::ChangeOf::spec: return "spec";
        case records::ChangeOf::status: return "status";
        case records::ChangeOf::erased: break;
    }
    return "erased";
}

asio::awaitable<bool> is_cancelled() {
    const auto state = co_await asio::this_coro::cancellation_state;
    co_return state.cancelled() != asio::cancellation_type::none;
}

// Lives in watch(), which joins the coroutines that use it.
struct Watcher {
    Watcher(Context& with, Socket& to, const asio::any_io_executor& executor)
        : context(with), client(to), ended(executor) {}

    Async<> send(JsonObject message) {
        return client.send({.is_text = true, .data = to_text(message)});
    }
    void end() {
        over = true;
        ended.notify_all();
    }
    void close_as_gone(const Error& error) {
        client.close(CloseCode::resume_gone, error.message());
        end();
    }

    AsyncVoid send_entries();
    AsyncVoid send_records();
    AsyncVoid send_progress();
    AsyncVoid drain();

    Context& context;
    Socket& client;
    Signal ended;
    bool over = false;
    bool with_audit = false;
    std::unique_ptr<journal::Watch> entries;
    state::Revision revision;
};

AsyncVoid Watcher::send_entries() {
    while (!over) {
        Result<std::vector<journal::Entry>> next = co_await entries->next();
        if (!next.ok()) {
            if (next.error().code() == ErrorCode::gone) close_as_gone(next.error());
            break;
        }
        for (const journal::Entry& entry : *next) {
            if (entry.kind == journal::Kind::audit && !with_audit) continue;
            JsonObject message{{"type", "entry"}};
            const Json json = to_json(entry);
            for (const auto& member : json.as_object()) message[member.key()] = member.value();
            if (!(co_await send(std::move(message))).ok()) co_return end();
        }
    }
    end();
}

AsyncVoid Watcher::send_records() {
    while (!over && !co_await is_cancelled()) {
        const auto changes = context.records.changes_since(revision);
        if (!changes.ok()) {
            close_as_gone(changes.error());
            break;
        }
        if (changes->empty()) {
            co_await context.records.changed().wait();
            continue;
        }
        for (const records::Changed& one : *changes) {
            const Result<void> sent = co_await send(
                {{"type", "record"},
                 {"kind", one.kind},
                 {"id", one.id.to_string()},
                 {"change", word_of(one.what)},
                 {"revision", records::revision_text(context.records.epoch(), one.revision)}});
            if (!sent.ok()) co_return end();
            revision = one.revision;
        }
    }
    end();
}

// Of tasks that run; only what is new.
AsyncVoid Watcher::send_progress() {
    std::map<Uuid, std::pair<uint64_t, std::string>> told;
    while (!over && !co_await is_cancelled()) {
        co_await context.engine.progressed().wait();
        std::vector<std::pair<Uuid, task::Progress>> now;
        for (const auto& [id, record] : context.records.all<model::Task>()) {
            if (record.status.state != model::TaskState::running) {
                told.erase(id);
                continue;
            }
            task::Progress progress = context.engine.progress(id);
            auto& before = told[id];
            if (before == std::pair(progress.done, progress.text)) continue;
            before = {progress.done, progress.text};
            now.emplace_back(id, std::move(progress));
        }
        for (const auto& [id, progress] : now) {
            const Result<void> sent = co_await send({{"type", "progress"},
                                                     {"task", id.to_string()},
                                                     {"done", progress.done},
                                                     {"total", progress.total},
                                                     {"text", progress.text}});
            if (!sent.ok()) co_return end();
        }
    }
    end();
}

// What the client says means nothing; that it leaves does.
AsyncVoid Watcher::drain() {
    while ((co_await client.receive()).ok()) {
    }
    end();
}

Result<uint64_t> since_of(const Context& context, const http::Request& request) {
    if (!request.has("since")) return context.journal.last_sequence();
    const std::string text = request.option("since");
    uint64_t since = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, since);
    if (error != std::errc() || stop != end) {
        return Error(ErrorCode::invalid_argument, "\"since\" must be the sequence of an entry");
    }
    return since;
}

}  // namespace

Async<> watch(Context& context, const http::Request& request, Socket& socket) {
    const auto executor = co_await asio::this_coro::executor;
    CO_TRY_ASSIGN(const uint64_t since, since_of(context, request));
    Watcher watcher(context, socket, executor);
    auto entries = context.journal.watch(since);
    if (!entries.ok()) {
        socket.close(CloseCode::resume_gone, entries.error().message());
        co_return Result<void>();
    }
    watcher.entries = *std::move(entries);
    watcher.with_audit = may_see_audit(context, request.principal);
    watcher.revision = context.records.revision();
    if (request.has("revision")) {
        watcher.revision = records::parse_revision(request.option("revision"));
        const bool is_ours = records::revision_text(context.records.epoch(), watcher.revision) ==
                             request.option("revision");
        if (!is_ours) {
            socket.close(CloseCode::resume_gone, "the revision is of another store: list again");
            co_return Result<void>();
        }
    }
    (void)co_await watcher.send(
        {{"type", "ready"},
         {"sequence", since},
         {"revision", records::revision_text(context.records.epoch(), watcher.revision)}});
    Scope scope(executor);
    scope.spawn(watcher.send_entries());
    scope.spawn(watcher.send_records());
    scope.spawn(watcher.send_progress());
    scope.spawn(watcher.drain());
    while (!watcher.over && !co_await is_cancelled()) co_await watcher.ended.wait();
    watcher.over = true;
    co_await scope.close();
    co_return Result<void>();
}

}  // namespace stoa::api
