#include "controlplane/task/idempotency.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <openssl/evp.h>

#include "base/check.h"

namespace stoa::task {

namespace {

constexpr std::string_view kPrefix = "/idempotency/";

// SHA-256 of the parts, each behind its length, in hexadecimal digits.
std::string digest(std::initializer_list<std::string_view> parts) {
    std::string text;
    for (const std::string_view part : parts) text += fmt::format("{}:{}", part.size(), part);
    std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
    unsigned int size = 0;
    CHECK(EVP_Digest(text.data(), text.size(), bytes.data(), &size, EVP_sha256(), nullptr) == 1);
    std::string digits;
    for (unsigned int i = 0; i < size; ++i) digits += fmt::format("{:02x}", bytes[i]);
    return digits;
}

struct Found {
    std::optional<state::Revision> revision;  // none: no record
    std::optional<OnceRecord> record;         // none: there is none, or it cannot be read
};

Async<Found> look(state::Store& store, std::string key) {
    CO_TRY_ASSIGN(const std::optional<state::Entry> entry, co_await store.get(std::move(key)));
    Found found;
    if (!entry) co_return found;
    found.revision = entry->revision;
    const auto json = parse_json(entry->value);
    OnceRecord record;
    if (json.ok() && from_json(*json, record).ok()) found.record = std::move(record);
    co_return found;
}

bool is_over(const OnceRecord& record, int64_t now_ns) {
    return record.created_ns + kIdempotencyKeptNs <= now_ns;
}

}  // namespace

Result<void> check_key(const OnceKey& once) {
    const auto is_plain = [](char c) { return c >= ' ' && c <= '~'; };
    if (once.key.empty() || once.key.size() > kIdempotencyKeyBytesMax ||
        !std::ranges::all_of(once.key, is_plain)) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("Idempotency-Key: 1 to {} printable ASCII characters, this one "
                                 "has {} bytes",
                                 kIdempotencyKeyBytesMax, once.key.size()));
    }
    return {};
}

std::string store_key(const OnceKey& once) {
    return std::string(kPrefix) + digest({once.principal, once.route, once.key});
}

std::string fingerprint(const OnceKey& once) { return digest({once.request}); }

Async<std::optional<OnceAnswer>> answered_before(state::Store& store, OnceKey once,
                                                 int64_t now_ns) {
    CO_TRY(check_key(once));
    CO_TRY_ASSIGN(Found found, co_await look(store, store_key(once)));
    if (!found.record || is_over(*found.record, now_ns)) {
        co_return std::optional<OnceAnswer>();
    }
    if (found.record->fingerprint != fingerprint(once)) {
        co_return Error(ErrorCode::already_exists,
                        fmt::format("Idempotency-Key \"{}\" was used for another request: take a "
                                    "new key for each request",
                                    once.key));
    }
    co_return OnceAnswer{found.record->task, std::move(found.record->target),
                         std::move(found.record->answer)};
}

Async<> remember(state::Store& store, OnceKey once, OnceAnswer answer, int64_t now_ns,
                 state::Txn& txn) {
    CO_TRY(check_key(once));
    const std::string key = store_key(once);
    CO_TRY_ASSIGN(const Found found, co_await look(store, key));
    if (found.record && !is_over(*found.record, now_ns)) {
        co_return Error(ErrorCode::conflict,
                        fmt::format("Idempotency-Key \"{}\" was used meanwhile", once.key));
    }
    txn.compares.push_back({key, found.revision});
    OnceRecord record{fingerprint(once), now_ns, answer.task, std::move(answer.target),
                      std::move(answer.answer)};
    txn.puts.push_back({key, to_text(to_json(record))});
    co_return Result<void>();
}

Async<> expire_keys(state::Store& store, int64_t now_ns) {
    std::string after;
    for (bool more = true; more;) {
        // As many as a transaction may delete.
        CO_TRY_ASSIGN(const state::Page page,
                      co_await store.list(std::string(kPrefix), after, state::kTxnOperationsMax));
        more = page.more;
        state::Txn txn;
        for (const state::Entry& entry : page.entries) {
            after = entry.key;
            const auto json = parse_json(entry.value);
            OnceRecord record;
            const bool is_good = json.ok() && from_json(*json, record).ok();
            if (is_good && !is_over(record, now_ns)) continue;
            txn.compares.push_back({entry.key, entry.revision});
            txn.deletes.push_back(entry.key);
        }
        if (txn.deletes.empty()) continue;
        const auto done = co_await store.txn(std::move(txn));
        // Whoever used a key again at this moment has the newer record.
        if (!done.ok() && done.error().code() != ErrorCode::conflict) co_return done.error();
    }
    co_return Result<void>();
}

}  // namespace stoa::task
