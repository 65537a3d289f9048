#include "controlplane/journal/journal.h"

#include <chrono>
#include <deque>
#include <list>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

#include "base/check.h"
#include "base/output.h"
#include "controlplane/async/scope.h"
#include "controlplane/async/signal.h"
#include "controlplane/async/worker.h"
#include "controlplane/journal/files.h"

namespace stoa::journal {

namespace {

constexpr std::ptrdiff_t kBatchMax = 1000;
constexpr std::chrono::hours kExpireEvery{1};

Error closed() { return {ErrorCode::cancelled, "the journal is being closed"}; }

}  // namespace

struct Journal::State {
    State(const asio::any_io_executor& executor, Options given)
        : options(std::move(given)), scope(executor), work(executor), written(executor),
          hourly(executor) {}

    class Feed;

    AsyncVoid write_all();
    AsyncVoid write_batch();
    AsyncVoid expire_hourly();
    AsyncVoid expire();
    Async<Page> query(Query query);
    void add(Entry entry);
    void tell(Kind kind, std::string subject, std::string text, Json data);
    void update(FilesState state);
    // `call(Files&)` on the worker's thread; then what is known of the files is brought up to date.
    template <class Call>
    auto use(Call call) -> asio::awaitable<decltype(call(std::declval<Files&>()))> {
        std::optional<std::pair<decltype(call(*files)), FilesState>> both;
        const auto work_there = [this, &call] {
            auto result = call(*files);
            return std::pair(std::move(result), files->take_state());
        };
        both = co_await worker.run(work_there);
        update(std::move(both->second));
        co_return std::move(both->first);
    }

    Options options;
    std::unique_ptr<Files> files;  // the worker's thread alone touches it
    std::deque<Entry> waiting;
    uint64_t added = 0;  // entries, since open()
    uint64_t settled = 0;  // of those: written or lost
    uint64_t unsaid = 0;  // lost, and not said yet
    FilesState now;
    bool closing = false;
    bool closed = false;
    size_t calls = 0;  // queries
    size_t watches = 0;
    Statistics statistics;

    Scope scope;
    Signal work;  // entries wait, or it closes
    Signal written;  // entries were settled, a call is over, or it closes
    asio::steady_timer hourly;
    Worker worker;
};

// ---- writing

void Journal::State::add(Entry entry) {
    if (closed) return;
    ++added;
    if (waiting.size() >= options.waiting_max) {
        ++settled;
        ++unsaid;
        ++statistics.lost;
        return;
    }
    if (entry.time_ns == 0) entry.time_ns = options.now_ns();
    waiting.push_back(std::move(entry));
    work.notify_all();
}

void Journal::State::tell(Kind kind, std::string subject, std::string text, Json data) {
    Entry entry;
    entry.kind = kind;
    entry.subject = std::move(subject);
    entry.text = std::move(text);
    entry.data = std::move(data);
    add(std::move(entry));
}

void Journal::State::update(FilesState state) {
    now = std::move(state);
    statistics.bytes = now.size_bytes;
    statistics.damaged = now.damaged;
    for (Note& note : now.notes) {
        options.tell(note.text);
        tell(Kind::event, "", std::move(note.text), std::move(note.data));
    }
    now.notes.clear();
}

AsyncVoid Journal::State::write_all() {
    for (;;) {
        if (!waiting.empty()) co_await write_batch();
        else if (closing) co_return;
        else co_await work.wait();
    }
}

AsyncVoid Journal::State::write_batch() {
    const auto end = waiting.begin() + std::min(std::ssize(waiting), kBatchMax);
    std::vector<Entry> batch(std::make_move_iterator(waiting.begin()),
                             std::make_move_iterator(end));
    waiting.erase(waiting.begin(), end);
    const uint64_t count = batch.size();
    const uint64_t said = unsaid;
    if (said > 0) {
        Entry notice;
        notice.time_ns = options.now_ns();
        notice.text = fmt::format("{} could not be written to the journal",
                                  count_of(said, "entry", "entries"));
        notice.data = JsonObject{{"lost", said}, {"why", statistics.last_failure}};
        batch.insert(batch.begin(), std::move(notice));
    }
    const auto call = [&batch](Files& there) { return there.write(batch); };
    const Files::Written done = co_await use(call);
    const bool is_lost = done.lost > 0;
    if (is_lost) {
        const uint64_t lost = std::min(done.lost, count);
        unsaid += lost;
        statistics.lost += lost;
        statistics.last_failure = done.failure;
        if (!statistics.is_failing) {
            options.tell(
                fmt::format("the journal cannot be written, entries are lost: {}", done.failure));
        }
    } else {
        unsaid -= said;
        if (statistics.is_failing) options.tell("the journal is written again");
    }
    statistics.is_failing = is_lost;
    statistics.written += count - std::min(done.lost, count);
    settled += count;
    written.notify_all();
}

AsyncVoid Journal::State::expire() {
    const auto call = [](Files& there) {
        there.expire();
        return true;
    };
    co_await use(call);
}

AsyncVoid Journal::State::expire_hourly() {
    while (!closing) {
        co_await expire();
        if (closing) co_return;
        hourly.expires_after(kExpireEvery);
        co_await hourly.async_wait(kAwait);
    }
}

// ---- reading

Async<Page> Journal::State::query(Query query) {
    if (closing) co_return stoa::journal::closed();
    if (query.limit < 1 || query.limit > kQueryMax) {
        co_return Error(ErrorCode::invalid_argument,
                        fmt::format("limit: 1 to {} entries, not {}", kQueryMax, query.limit));
    }
    ++calls;
    const auto call = [&query](Files& there) { return there.query(query); };
    auto page = co_await use(call);
    --calls;
    written.notify_all();
    co_return page;
}

class Journal::State::Feed final : public Watch {
public:
    Feed(State& state, uint64_t after) : state_(state), after_(after) { ++state_.watches; }
    ~Feed() override { --state_.watches; }

    Async<std::vector<Entry>> next() override {
        for (;;) {
            const auto cancelled = co_await asio::this_coro::cancellation_state;
            if (cancelled.cancelled() != asio::cancellation_type::none) {
                co_return Error(ErrorCode::cancelled, "the watch was cancelled");
            }
            if (after_ + 1 < state_.now.covers_from) {
                co_return Error(ErrorCode::gone,
                                fmt::format("entries after {} were removed: the oldest is {}",
                                            after_, state_.now.covers_from));
            }
            if (after_ < state_.now.last_sequence) {
                const uint64_t last = state_.now.last_sequence;
                Query query;
                query.after = after_;
                query.limit = kQueryMax;
                CO_TRY_ASSIGN(Page page, co_await state_.query(query));
                after_ = page.next.value_or(std::max(last, after_));
                if (!page.entries.empty()) {
                    after_ = std::max(after_, page.entries.back().sequence);
                    co_return std::move(page.entries);
                }
            } else {
                if (state_.closing) co_return stoa::journal::closed();
                co_await state_.written.wait();
            }
        }
    }

private:
    State& state_;
    uint64_t after_;
};

// ---- the journal

Journal::Journal(std::unique_ptr<State> state) : state_(std::move(state)) {}

Journal::~Journal() { CHECK(state_->closed && state_->watches == 0); }

Async<std::unique_ptr<Journal>> Journal::open(asio::any_io_executor executor, Options options) {
    auto state = std::make_unique<State>(executor, std::move(options));
    const auto call = [&state]() -> Result<FilesState> {
        TRY_ASSIGN(state->files, Files::open(state->options));
        return state->files->take_state();
    };
    CO_TRY_ASSIGN(FilesState found, co_await state->worker.run(call));
    state->update(std::move(found));
    state->scope.spawn(state->write_all());
    state->scope.spawn(state->expire_hourly());
    co_return std::unique_ptr<Journal>(new Journal(std::move(state)));
}

void Journal::add(Entry entry) { state_->add(std::move(entry)); }

void Journal::event(std::string subject, std::string text, Json data) {
    state_->tell(Kind::event, std::move(subject), std::move(text), std::move(data));
}

void Journal::decision(std::string subject, std::string text, Json data) {
    state_->tell(Kind::decision, std::move(subject), std::move(text), std::move(data));
}

AsyncVoid Journal::flush() {
    const uint64_t until = state_->added;
    while (state_->settled < until) co_await state_->written.wait();
}

Async<Page> Journal::query(Query query) { return state_->query(std::move(query)); }

Result<std::unique_ptr<Watch>> Journal::watch(uint64_t sequence) {
    if (state_->closing) return stoa::journal::closed();
    if (sequence > state_->now.last_sequence) {
        return Error(ErrorCode::gone,
                     fmt::format("entry {} is not of this journal, whose newest is {}", sequence,
                                 state_->now.last_sequence));
    }
    if (sequence + 1 < state_->now.covers_from) {
        return Error(ErrorCode::gone, fmt::format("entries after {} were removed: the oldest is {}",
                                                  sequence, state_->now.covers_from));
    }
    std::unique_ptr<Watch> feed = std::make_unique<State::Feed>(*state_, sequence);
    return feed;
}

uint64_t Journal::last_sequence() const { return state_->now.last_sequence; }

const Statistics& Journal::statistics() const { return state_->statistics; }

AsyncVoid Journal::expire() { return state_->expire(); }

AsyncVoid Journal::close() {
    CHECK(!state_->closing);
    state_->closing = true;
    state_->hourly.cancel();
    state_->work.notify_all();
    state_->written.notify_all();
    co_await state_->scope.join();
    while (state_->calls > 0) co_await state_->written.wait();
    state_->closed = true;
    const auto call = [this] { state_->files.reset(); };
    co_await state_->worker.run(call);
}

}  // namespace stoa::journal
