// EtcdStore: the promises of store.h kept by etcd, through its JSON gateway. Test-only: it shows
// that nothing in the interface is SQLite's alone.
//
// https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway: keys and values are base64, 64-bit numbers
// are strings, fields that are zero or false are left out.
//
// Keys in etcd: ROOT/epoch, and ROOT/data before each key of the store.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include "base/check.h"
#include "base/json.h"
#include "controlplane/async/scope.h"
#include "controlplane/async/signal.h"
#include "controlplane/state/store.h"

namespace stoa::state {

namespace etcd {

namespace http = boost::beast::http;
using Tcp = asio::ip::tcp;

constexpr std::string_view kDigits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

inline std::string to_base64(std::string_view bytes) {
    std::string text;
    for (size_t at = 0; at < bytes.size(); at += 3) {
        uint32_t group = 0;
        const size_t count = std::min<size_t>(3, bytes.size() - at);
        for (size_t i = 0; i < 3; ++i) {
            group = group << 8 | (i < count ? static_cast<uint8_t>(bytes[at + i]) : 0);
        }
        for (size_t i = 0; i < 4; ++i) {
            text += i <= count ? kDigits[group >> (18 - 6 * i) & 63] : '=';
        }
    }
    return text;
}

inline std::string from_base64(std::string_view text) {
    std::string bytes;
    uint32_t group = 0;
    int bits = 0;
    for (const char digit : text) {
        const size_t value = kDigits.find(digit);
        if (value == std::string_view::npos) break;
        group = group << 6 | static_cast<uint32_t>(value);
        bits += 6;
        if (bits < 8) continue;
        bits -= 8;
        bytes += static_cast<char>(group >> bits & 0xff);
    }
    return bytes;
}

// Fields of an answer; what is left out is empty, zero or false.
inline std::string text(const Json& object, std::string_view name) {
    const Json* value = object.is_object() ? object.get_object().if_contains(name) : nullptr;
    return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}
inline int64_t number(const Json& object, std::string_view name) {
    const std::string digits = text(object, name);
    return digits.empty() ? 0 : std::stoll(digits);
}
inline Json part(const Json& object, std::string_view name) {
    const Json* value = object.is_object() ? object.get_object().if_contains(name) : nullptr;
    return value != nullptr ? *value : Json(nullptr);
}
inline bool is_true(const Json& object, std::string_view name) {
    const Json value = part(object, name);
    return value.is_bool() && value.get_bool();
}
// The first key after all that begin with `prefix`.
inline std::string end_of(std::string prefix) {
    ++prefix.back();
    return prefix;
}

}  // namespace etcd

class EtcdStore final : public Store {
public:
    struct Options {
        uint16_t port = 0;  // of a client URL on 127.0.0.1
        std::string root;   // "/stoa/NAME"
        Uuid new_epoch;
    };

    static Async<std::unique_ptr<EtcdStore>> open(asio::any_io_executor executor, Options options) {
        std::unique_ptr<EtcdStore> store(new EtcdStore(std::move(executor), std::move(options)));
        auto opened = co_await store->read_epoch();
        if (opened.ok()) co_return store;
        store->closing_ = true;
        co_return opened.take_error();
    }
    ~EtcdStore() override { CHECK(closing_ && feeds_.empty()); }

    Async<std::optional<Entry>> get(std::string key) override {
        CO_TRY(is_open());
        CO_TRY_ASSIGN(const Json answer, co_await call("/v3/kv/range", range_of(key)));
        CO_TRY_ASSIGN(const std::vector<Entry> found, entries_of(answer));
        co_return found.empty() ? std::nullopt : std::optional(found.front());
    }

    Async<Page> list(std::string prefix, std::string after, size_t limit) override {
        CO_TRY(is_open());
        if (limit < 1 || limit > kPageMax) {
            co_return Error(ErrorCode::invalid_argument,
                            fmt::format("a page has 1 to {} entries, not {}", kPageMax, limit));
        }
        JsonObject range = range_of(after.empty() ? prefix : after + '\0');
        range["range_end"] = etcd::to_base64(etcd::end_of(data_ + prefix));
        range["limit"] = fmt::format("{}", limit);
        CO_TRY_ASSIGN(const Json answer, co_await call("/v3/kv/range", range));
        Page page;
        CO_TRY_ASSIGN(page.entries, entries_of(answer));
        page.revision = revision_of(answer);
        page.more = etcd::is_true(answer, "more");
        co_return page;
    }

    Async<Revision> txn(Txn txn) override {
        CO_TRY(is_open());
        CO_TRY(check(txn));
        JsonArray compares;
        for (const Compare& each : txn.compares) compares.push_back(compare_of(each));
        JsonArray success;
        for (const Put& put : txn.puts) {
            JsonObject one{{"key", in_etcd(put.key)}, {"value", etcd::to_base64(put.value)}};
            success.push_back(JsonObject{{"request_put", std::move(one)}});
        }
        for (const std::string& key : txn.deletes) {
            JsonObject one{{"key", in_etcd(key)}};
            success.push_back(JsonObject{{"request_delete_range", std::move(one)}});
        }
        JsonObject body{{"compare", std::move(compares)}, {"success", std::move(success)}};
        CO_TRY_ASSIGN(const Json answer, co_await call("/v3/kv/txn", body));
        if (!etcd::is_true(answer, "succeeded")) {
            co_return Error(ErrorCode::conflict, "a key was changed meanwhile");
        }
        co_return revision_of(answer);
    }

    Async<std::unique_ptr<Watch>> watch(std::string prefix, Revision after) override {
        CO_TRY(is_open());
        auto state = std::make_shared<FeedState>(executor_);
        CO_TRY(co_await reach(state->stream));
        JsonObject create{{"key", in_etcd(prefix)},
                          {"range_end", etcd::to_base64(etcd::end_of(data_ + prefix))},
                          {"start_revision", fmt::format("{}", after.number + 1)}};
        CO_TRY(co_await ask(state->stream, "/v3/watch",
                            JsonObject{{"create_request", std::move(create)}}));
        std::unique_ptr<Watch> feed = std::make_unique<Feed>(*this, state);
        scope_.spawn(follow(data_.size(), std::move(state)));
        co_return feed;
    }

    [[nodiscard]] const Uuid& epoch() const override { return epoch_; }

    AsyncVoid close() override {
        closing_ = true;
        for (FeedState* each : feeds_) each->end({ErrorCode::cancelled, "the state is closed"});
        co_await scope_.close();
    }

private:
    // Held by the watch and by the coroutine that reads for it.
    struct FeedState {
        explicit FeedState(const asio::any_io_executor& executor)
            : stream(executor), signal(executor) {}
        void end(Error why) {
            if (!ended) ended = std::move(why);
            boost::system::error_code ignored;
            stream.close(ignored);
            signal.notify_all();
        }
        etcd::Tcp::socket stream;
        Signal signal;
        std::deque<Changes> queue;
        std::optional<Error> ended;
    };

    class Feed final : public Watch {
    public:
        Feed(EtcdStore& store, std::shared_ptr<FeedState> state)
            : store_(store), state_(std::move(state)) {
            store_.feeds_.push_back(state_.get());
        }
        ~Feed() override {
            state_->end({ErrorCode::cancelled, "the watch is over"});
            std::erase(store_.feeds_, state_.get());
        }
        Async<Changes> next() override {
            if (state_->queue.empty() && !state_->ended) co_await state_->signal.wait();
            if (state_->queue.empty()) {
                co_return state_->ended.value_or(Error(ErrorCode::cancelled, "cancelled"));
            }
            Changes changes = std::move(state_->queue.front());
            state_->queue.pop_front();
            co_return changes;
        }

    private:
        EtcdStore& store_;
        std::shared_ptr<FeedState> state_;
    };

    EtcdStore(asio::any_io_executor executor, Options options)
        : executor_(std::move(executor)), options_(std::move(options)),
          data_(options_.root + "/data"), scope_(executor_) {}

    [[nodiscard]] Result<void> is_open() const {
        return closing_ ? Error(ErrorCode::cancelled, "the state is closed") : Result<void>();
    }
    [[nodiscard]] std::string in_etcd(const std::string& key) const {
        return etcd::to_base64(data_ + key);
    }
    [[nodiscard]] JsonObject range_of(const std::string& key) const {
        return {{"key", in_etcd(key)}};
    }
    [[nodiscard]] JsonObject compare_of(const Compare& compare) const {
        JsonObject json{{"key", in_etcd(compare.key)}, {"result", "EQUAL"}};
        if (compare.revision) {
            json["target"] = "MOD";
            json["mod_revision"] = fmt::format("{}", compare.revision->number);
        } else {
            json["target"] = "CREATE";
            json["create_revision"] = "0";
        }
        return json;
    }
    static Revision revision_of(const Json& answer) {
        return {etcd::number(etcd::part(answer, "header"), "revision")};
    }
    Result<std::vector<Entry>> entries_of(const Json& answer) const {
        std::vector<Entry> entries;
        const Json pairs = etcd::part(answer, "kvs");
        if (!pairs.is_array()) return entries;
        for (const Json& pair : pairs.get_array()) {
            const std::string key = etcd::from_base64(etcd::text(pair, "key"));
            if (!key.starts_with(data_)) return Error(ErrorCode::corrupt, "etcd: a foreign key");
            entries.push_back({key.substr(data_.size()),
                               etcd::from_base64(etcd::text(pair, "value")),
                               {etcd::number(pair, "mod_revision")}});
        }
        return entries;
    }

    Async<> read_epoch() {
        const std::string key = etcd::to_base64(options_.root + "/epoch");
        JsonObject is_new{
            {"key", key}, {"target", "CREATE"}, {"result", "EQUAL"}, {"create_revision", "0"}};
        JsonObject put{{"key", key}, {"value", etcd::to_base64(options_.new_epoch.to_string())}};
        JsonObject body{{"compare", JsonArray{std::move(is_new)}},
                        {"success", JsonArray{JsonObject{{"request_put", std::move(put)}}}}};
        CO_TRY(co_await call("/v3/kv/txn", body));
        CO_TRY_ASSIGN(const Json answer, co_await call("/v3/kv/range", JsonObject{{"key", key}}));
        const Json pairs = etcd::part(answer, "kvs");
        if (!pairs.is_array() || pairs.get_array().empty()) {
            co_return Error(ErrorCode::corrupt, "etcd: the epoch is not there");
        }
        CO_TRY_ASSIGN(epoch_,
                      Uuid::parse(etcd::from_base64(etcd::text(pairs.get_array()[0], "value"))));
        co_return Result<void>();
    }

    // ---- HTTP

    Async<> reach(etcd::Tcp::socket& stream) {
        const etcd::Tcp::endpoint at(asio::ip::address_v4::loopback(), options_.port);
        const auto [error] = co_await stream.async_connect(at, kAwait);
        if (error) co_return failed("etcd", error);
        co_return Result<void>();
    }
    static Async<> ask(etcd::Tcp::socket& stream, std::string path, Json body) {
        etcd::http::request<etcd::http::string_body> request(etcd::http::verb::post, path, 11);
        request.set(etcd::http::field::host, "127.0.0.1");
        request.body() = to_text(body);
        request.prepare_payload();
        const auto [error, size] = co_await etcd::http::async_write(stream, request, kAwait);
        if (error) co_return failed("etcd", error);
        co_return Result<void>();
    }
    Async<Json> call(std::string path, Json body) {
        etcd::Tcp::socket stream(executor_);
        CO_TRY(co_await reach(stream));
        CO_TRY(co_await ask(stream, path, std::move(body)));
        boost::beast::flat_buffer buffer;
        etcd::http::response_parser<etcd::http::string_body> parser;
        parser.body_limit(uint64_t{512} << 20);
        const auto [error, size] = co_await etcd::http::async_read(stream, buffer, parser, kAwait);
        if (error) co_return failed("etcd", error);
        CO_TRY_ASSIGN(Json answer, parse_json(parser.get().body()));
        if (parser.get().result() != etcd::http::status::ok) {
            co_return Error(ErrorCode::io, "etcd: " + etcd::text(answer, "error"));
        }
        co_return answer;
    }

    // A watch's answer has no end: a line of JSON for each event.
    static AsyncVoid follow(size_t prefix_bytes, std::shared_ptr<FeedState> feed) {
        boost::beast::flat_buffer buffer;
        etcd::http::response_parser<etcd::http::string_body> parser;
        parser.body_limit(boost::none);
        std::string& body = parser.get().body();
        for (;;) {
            const auto [error, size] =
                co_await etcd::http::async_read_some(feed->stream, buffer, parser, kAwait);
            for (size_t end = body.find('\n'); end != std::string::npos; end = body.find('\n')) {
                const auto line = parse_json(body.substr(0, end));
                body.erase(0, end + 1);
                if (line.ok()) take(etcd::part(*line, "result"), prefix_bytes, *feed);
            }
            if (error || parser.is_done()) {
                feed->end(error ? failed("etcd", error) : Error(ErrorCode::io, "etcd hung up"));
                co_return;
            }
        }
    }
    static void take(const Json& result, size_t prefix_bytes, FeedState& feed) {
        if (etcd::is_true(result, "canceled")) {
            const bool is_old = etcd::number(result, "compact_revision") > 0;
            feed.end({is_old ? ErrorCode::gone : ErrorCode::io, "etcd ended the watch"});
            return;
        }
        // Events of one transaction come in one answer, those of several may.
        const Json events = etcd::part(result, "events");
        if (!events.is_array()) return;
        std::map<int64_t, Changes> by_revision;
        for (const Json& event : events.get_array()) {
            const Json pair = etcd::part(event, "kv");
            const int64_t revision = etcd::number(pair, "mod_revision");
            Changes& changes = by_revision[revision];
            changes.revision = {revision};
            std::optional<std::string> value;
            if (etcd::text(event, "type") != "DELETE") {
                value = etcd::from_base64(etcd::text(pair, "value"));
            }
            changes.changes.push_back(
                {etcd::from_base64(etcd::text(pair, "key")).substr(prefix_bytes), value});
        }
        for (auto& [revision, changes] : by_revision) {
            std::ranges::sort(changes.changes, {}, &Change::key);
            feed.queue.push_back(std::move(changes));
        }
        feed.signal.notify_all();
    }

    asio::any_io_executor executor_;
    Options options_;
    std::string data_;
    Uuid epoch_;
    bool closing_ = false;
    std::vector<FeedState*> feeds_;
    Scope scope_;
};

}  // namespace stoa::state
