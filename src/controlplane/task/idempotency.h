// Idempotency keys: a change that a client repeats with the same key is done once.
//
// A key counts for one principal and one route, for 24 hours. What was answered is a record of the
// store, put in the transaction of the effect:
//     /idempotency/HASH   {"fingerprint", "created_ns", "task", "target", "answer"}
// HASH is the SHA-256 of principal, route and key. Key and request are not stored themselves.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>

#include "base/describe.h"
#include "controlplane/async/async.h"
#include "controlplane/state/store.h"

namespace stoa::task {

constexpr size_t kIdempotencyKeyBytesMax = 255;
constexpr int64_t kIdempotencyKeptNs = int64_t{24} * 3600 * 1'000'000'000;

// One request that bears a key.
struct OnceKey {
    std::string principal;
    std::string route;    // method and path as in the table of routes: "POST /v1/vms"
    std::string key;      // as the client sent it
    std::string request;  // all that makes it another request: path, query and body as sent
};

// What was answered the first time.
struct OnceAnswer {
    std::optional<Uuid> task;  // none: the plan had no steps
    std::string target;
    Json answer;  // what submit_once() was given
};

struct OnceRecord {
    std::string fingerprint;  // SHA-256 of the request
    int64_t created_ns = 0;
    std::optional<Uuid> task;
    std::string target;
    Json answer;
    static constexpr auto fields() {
        return std::tuple(required("fingerprint", &OnceRecord::fingerprint, ""),
                          required("created_ns", &OnceRecord::created_ns, ""),
                          optional("task", &OnceRecord::task, ""),
                          required("target", &OnceRecord::target, ""),
                          optional("answer", &OnceRecord::answer, ""));
    }
};

// Errors: invalid_argument (empty, too long, not visible ASCII).
[[nodiscard]] Result<void> check_key(const OnceKey& once);
[[nodiscard]] std::string store_key(const OnceKey& once);
[[nodiscard]] std::string fingerprint(const OnceKey& once);

// The answer to the same request before, if there was one within 24 hours before `now_ns`.
// Errors: invalid_argument (the key), already_exists (the key was used for another request: the API
// answers 422), as Store::get.
Async<std::optional<OnceAnswer>> answered_before(state::Store& store, OnceKey once, int64_t now_ns);

// Adds the record to `txn`, guarded against a request that is done at the same time: then the
// transaction ends with `conflict`, and answered_before() knows the answer. An expired record is
// replaced: `store` is asked for its revision.
Async<> remember(state::Store& store, OnceKey once, OnceAnswer answer, int64_t now_ns,
                 state::Txn& txn);

// Erases what expired. Errors: as Store::txn.
Async<> expire_keys(state::Store& store, int64_t now_ns);

}  // namespace stoa::task
