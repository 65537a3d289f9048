// Access: who asks, and what he may; logins, sessions and API tokens.
//
// Keys in the store besides the records (model/access.h):
//     /user/secret/USER-ID    {"hash"}: of the password (password.h)
//     /token/secret/TOKEN-ID  {"hash"}: SHA-256 of the token, in hex
//     /session/HASH           {"user", "created_ns", "expires_ns"}: HASH is of the session's token
// Tokens are 256 random bits and stand in the store only as their hash; the API shows none of these
// keys.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "controlplane/access/permissions.h"
#include "controlplane/async/async.h"
#include "controlplane/host/clock.h"
#include "controlplane/host/random.h"
#include "controlplane/http/authorizer.h"
#include "controlplane/model/access_requests.h"
#include "controlplane/records/records.h"
#include "controlplane/state/store.h"

namespace stoa::access {

struct AccessOptions {
    uint32_t own_uid = 0;  // of this program
    // The group whose members are administrators, as root is; nothing: there is none.
    std::optional<uint32_t> group;
    // A session ends so long after its last use, and at the latest after the second.
    int64_t session_ns = int64_t{12} * 3600 * 1'000'000'000;
    int64_t session_max_ns = int64_t{30} * 24 * 3600 * 1'000'000'000;
};

// One thread. All that is passed in outlives it.
class Access final : public http::Authorizer {
public:
    // Reads sessions and tokens, forgets those that are over. Errors: as Store::list, corrupt.
    static Async<std::unique_ptr<Access>> open(asio::any_io_executor executor,
                                               records::Records& records, state::Store& store,
                                               host::Clock& clock, host::Random& random,
                                               AccessOptions options);
    ~Access() override;  // CHECKs that close() finished.

    // By bearer token if there is one, else by the peer of the Unix socket: root, this program's
    // own user and members of the group are "local/UID", and may do everything.
    Async<http::Principal> authenticate(const http::Credentials& credentials) override;
    Result<http::Principal> find(const std::string& name) override;
    // A token may what both its user and its own grants allow.
    Result<void> authorize(const http::Principal& principal, std::string_view permission,
                           std::string_view resource) override;

    // `peer`: address of who asks. Takes the same time whether the user exists or not.
    // Errors: denied (wrong user or password, or disabled: does not say which), busy (too many
    // failures: says how long to wait; to be answered with 429).
    Async<model::LoginResult> login(model::Login request, std::string peer);
    // Ends the session; of anything else: does nothing.
    Async<> logout(std::string bearer);

    // These hash or draw secrets, so that they are no plans. Each is one transaction.
    // Errors: invalid_argument (field), already_exists.
    Async<Uuid> create_user(model::UserCreate request);
    // Ends the sessions of the user. Who sets his own gives the old one too; others are asked for
    // the permission user.set by whoever calls. Errors: not_found, denied (old password; rate of
    // failures), invalid_argument.
    Async<> set_password(std::string user, model::UserPassword request,
                         const http::Principal& principal);
    // For another user only by an administrator. Errors: invalid_argument, not_found, denied,
    // already_exists.
    Async<model::TokenCreated> create_token(model::TokenCreate request, http::Principal principal);

    // Whether anybody can log in as an administrator of everything: only then the API may listen on
    // more than the loopback addresses. Changes with the records (Records::changed()).
    [[nodiscard]] bool has_administrator() const;

    AsyncVoid close();

private:
    struct State;
    explicit Access(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

[[nodiscard]] bool has_administrator(const records::Records& records);

// Keys as above.
[[nodiscard]] std::string password_key(const Uuid& user);
[[nodiscard]] std::string token_key(const Uuid& token);

}  // namespace stoa::access
