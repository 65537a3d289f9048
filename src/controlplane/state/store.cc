#include "controlplane/state/store.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

namespace stoa::state {

Result<void> check_key(const std::string& key) {
    const auto is_plain = [](char c) { return c > ' ' && c <= '~'; };
    if (key.empty() || key.size() > kKeyBytesMax || !std::ranges::all_of(key, is_plain)) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("a key is 1 to {} visible ASCII characters, this one has {} bytes",
                                 kKeyBytesMax, key.size()));
    }
    return {};
}

Result<void> check(const Txn& txn) {
    const auto few = [](size_t count) { return count <= kTxnOperationsMax; };
    if (!few(txn.compares.size()) || !few(txn.puts.size() + txn.deletes.size())) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("a transaction has at most {} comparisons and {} changes, this "
                                 "one has {} and {}",
                                 kTxnOperationsMax, kTxnOperationsMax, txn.compares.size(),
                                 txn.puts.size() + txn.deletes.size()));
    }
    for (const Compare& compare : txn.compares) TRY(check_key(compare.key));
    std::set<std::string_view> changed;
    for (const Put& put : txn.puts) {
        TRY(check_key(put.key));
        if (put.value.size() > kValueBytesMax) {
            return Error(ErrorCode::invalid_argument,
                         fmt::format("the value of {} has {} bytes, at most {} are kept", put.key,
                                     put.value.size(), kValueBytesMax));
        }
        changed.insert(put.key);
    }
    for (const std::string& key : txn.deletes) {
        TRY(check_key(key));
        changed.insert(key);
    }
    if (changed.size() != txn.puts.size() + txn.deletes.size()) {
        return Error(ErrorCode::invalid_argument, "a transaction changes a key twice");
    }
    return {};
}

}  // namespace stoa::state
