#include "controlplane/access/access.h"

#include <algorithm>
#include <map>
#include <tuple>

#include <fmt/format.h>

#include "base/check.h"
#include "base/describe.h"
#include "base/utf8.h"
#include "controlplane/access/password.h"
#include "controlplane/access/plans.h"
#include "controlplane/access/rate_limit.h"
#include "controlplane/access/secret.h"
#include "controlplane/async/scope.h"
#include "controlplane/async/worker.h"

namespace stoa::access {

namespace {

constexpr std::string_view kSessionPrefix = "/session/";
constexpr std::string_view kTokenPrefix = "/token/secret/";
constexpr int64_t kSeenNs = 600'000'000'000;  // so exactly is it recorded when a token was used
constexpr size_t kExpiredMax = 50;            // sessions that one login clears away
constexpr uint32_t kFreeOfUser = 5;
constexpr uint32_t kFreeOfAddress = 30;  // many may log in from one
constexpr size_t kLoginsMax = 32;             // that wait for their turn to be hashed

struct StoredHash {
    std::string hash;
    static constexpr auto fields() { return std::tuple(required("hash", &StoredHash::hash, "")); }
};

struct Session {
    Uuid user;
    int64_t created_ns = 0;
    int64_t expires_ns = 0;
    static constexpr auto fields() {
        return std::tuple(required("user", &Session::user, ""),
                          required("created_ns", &Session::created_ns, ""),
                          required("expires_ns", &Session::expires_ns, ""));
    }
};

template <class T>
Result<T> read(const state::Entry& entry) {
    T value;
    const auto json = parse_json(entry.value);
    const auto done = json.ok() ? from_json(*json, value) : Result<void>(json.error());
    if (done.ok()) return value;
    return Error(ErrorCode::corrupt, fmt::format("{}: {}", entry.key, done.error().message()));
}

std::string session_key(std::string_view hash) {
    return std::string(kSessionPrefix) + std::string(hash);
}

Error no_login() { return {ErrorCode::denied, "user or password is wrong"}; }

// "user/ID" → ID, if it is of that kind.
std::optional<Uuid> id_in(std::string_view principal, std::string_view kind) {
    if (!principal.starts_with(kind) || principal.size() <= kind.size() ||
        principal[kind.size()] != '/') {
        return std::nullopt;
    }
    const auto id = Uuid::parse(principal.substr(kind.size() + 1));
    return id.ok() ? std::optional(*id) : std::nullopt;
}

}  // namespace

struct Access::State {
    State(asio::any_io_executor executor, records::Records& records_, state::Store& store_,
          host::Clock& clock_, host::Random& random_, AccessOptions options_)
        : records(records_), store(store_), clock(clock_), random(random_), options(options_),
          scope(executor) {}

    Async<> read_all();
    Async<std::string> hash(std::string password);
    Async<bool> verify(std::string password, std::string hash);
    Result<http::Principal> by_session(const std::string& hash);
    Result<http::Principal> by_token(const std::string& hash);
    Result<http::Principal> local(const http::Peer& peer) const;
    AsyncVoid put(state::Txn txn);
    void forget_expired(state::Txn& txn);
    Async<Uuid> start_session(const Uuid& user, const std::string& token);
    void end_sessions(state::Txn& txn, const Uuid& user);

    records::Records& records;
    state::Store& store;
    host::Clock& clock;
    host::Random& random;
    AccessOptions options;
    std::map<std::string, Session> sessions;  // by hash
    std::map<std::string, Uuid> tokens;       // by hash
    RateLimit users{kFreeOfUser};
    RateLimit addresses{kFreeOfAddress};
    size_t logins = 0;
    bool closed = false;
    Scope scope;
    Worker worker;
};

std::string password_key(const Uuid& user) { return "/user/secret/" + user.to_string(); }
std::string token_key(const Uuid& token) { return std::string(kTokenPrefix) + token.to_string(); }

Async<> Access::State::read_all() {
    for (const std::string_view prefix : {kSessionPrefix, kTokenPrefix}) {
        std::string after;
        for (bool more = true; more;) {
            CO_TRY_ASSIGN(const state::Page page,
                          co_await store.list(std::string(prefix), after, state::kPageMax));
            more = page.more;
            for (const state::Entry& entry : page.entries) {
                after = entry.key;
                const std::string rest = entry.key.substr(prefix.size());
                if (prefix == kSessionPrefix) {
                    CO_TRY_ASSIGN(sessions[rest], read<Session>(entry));
                } else {
                    CO_TRY_ASSIGN(const StoredHash stored, read<StoredHash>(entry));
                    CO_TRY_ASSIGN(tokens[stored.hash], Uuid::parse(rest));
                }
            }
        }
    }
    state::Txn txn;
    forget_expired(txn);
    if (!txn.deletes.empty()) scope.spawn(put(std::move(txn)));
    co_return Result<void>();
}

// What may be lost: times of use, and what is over anyway.
AsyncVoid Access::State::put(state::Txn txn) { (void)co_await records.commit(std::move(txn)); }

void Access::State::forget_expired(state::Txn& txn) {
    const int64_t now_ns = clock.wall_ns();
    for (auto at = sessions.begin(); at != sessions.end() && txn.deletes.size() < kExpiredMax;) {
        if (at->second.expires_ns > now_ns) {
            ++at;
            continue;
        }
        txn.deletes.push_back(session_key(at->first));
        at = sessions.erase(at);
    }
}

Async<std::string> Access::State::hash(std::string password) {
    Salt salt{};
    random.fill(salt);
    co_return co_await worker.run([&password, &salt] { return hash_password(password, salt); });
}

Async<bool> Access::State::verify(std::string password, std::string hash) {
    if (logins >= kLoginsMax) {
        co_return Error(ErrorCode::busy, "too many logins at once: try again in a moment");
    }
    ++logins;
    const bool is_right =
        co_await worker.run([&password, &hash] { return verify_password(password, hash); });
    --logins;
    co_return is_right;
}

Result<http::Principal> Access::State::by_session(const std::string& hash) {
    const auto found = sessions.find(hash);
    if (found == sessions.end() || found->second.expires_ns <= clock.wall_ns()) {
        return Error(ErrorCode::denied, "the session is over: log in again");
    }
    Session& session = found->second;
    const auto* user = records.get<model::User>(session.user);
    if (user == nullptr || user->spec.disabled) {
        return Error(ErrorCode::denied, "the user is disabled or deleted");
    }
    if (session.created_ns < user->status.password_ns) {
        return Error(ErrorCode::denied, "the password was changed: log in again");
    }
    // It slides, and is recorded when a tenth of it has passed.
    const int64_t ends_ns =
        std::min(clock.wall_ns() + options.session_ns, session.created_ns + options.session_max_ns);
    if (ends_ns - session.expires_ns > options.session_ns / 10) {
        session.expires_ns = ends_ns;
        state::Txn txn;
        txn.puts.push_back({session_key(hash), to_text(to_json(session))});
        scope.spawn(put(std::move(txn)));
    }
    return http::Principal{"user/" + session.user.to_string(), user->name};
}

Result<http::Principal> Access::State::by_token(const std::string& hash) {
    const auto found = tokens.find(hash);
    const auto* token = found == tokens.end() ? nullptr : records.get<model::Token>(found->second);
    if (token == nullptr) return Error(ErrorCode::denied, "the token is not known");
    const int64_t now_ns = clock.wall_ns();
    if (token->spec.expires_ns != 0 && token->spec.expires_ns <= now_ns) {
        return Error(ErrorCode::denied, fmt::format("token {}: has expired", token->name));
    }
    const auto* user = records.get<model::User>(token->spec.user);
    if (user == nullptr || user->spec.disabled) {
        return Error(ErrorCode::denied,
                     fmt::format("token {}: its user is disabled or deleted", token->name));
    }
    if (now_ns - token->status.seen_ns > kSeenNs) {
        state::Txn txn;
        records::expect<model::Token>(txn, *token);
        records::put_status<model::Token>(txn, token->id, {now_ns});
        scope.spawn(put(std::move(txn)));
    }
    return http::Principal{"token/" + token->id.to_string(),
                           fmt::format("{} (token {})", user->name, token->name)};
}

Result<http::Principal> Access::State::local(const http::Peer& peer) const {
    const bool is_member =
        options.group && (peer.gid == *options.group ||
                          std::ranges::find(peer.groups, *options.group) != peer.groups.end());
    if (!peer.is_local) return Error(ErrorCode::denied, "log in first");
    if (peer.uid != 0 && peer.uid != options.own_uid && !is_member) {
        return Error(
            ErrorCode::denied,
            fmt::format("uid {}: is neither root nor in the group stoa: log in", peer.uid));
    }
    return http::Principal{fmt::format("local/{}", peer.uid),
                           peer.uid == 0 ? "root" : fmt::format("uid {}", peer.uid)};
}

Async<std::unique_ptr<Access>> Access::open(asio::any_io_executor executor,
                                            records::Records& records, state::Store& store,
                                            host::Clock& clock, host::Random& random,
                                            AccessOptions options) {
    std::unique_ptr<Access> access(
        new Access(std::make_unique<State>(executor, records, store, clock, random, options)));
    const auto done = co_await access->state_->read_all();
    if (!done.ok()) {
        co_await access->close();
        co_return done.error();
    }
    co_return std::move(access);
}

Access::Access(std::unique_ptr<State> state) : state_(std::move(state)) {}
Access::~Access() { CHECK(state_->closed); }

AsyncVoid Access::close() {
    co_await state_->scope.join();  // what is being recorded
    co_await state_->scope.close();
    state_->closed = true;
}

Async<http::Principal> Access::authenticate(const http::Credentials& credentials) {
    if (credentials.bearer.empty()) co_return state_->local(credentials.peer);
    const std::string hash = hash_token(credentials.bearer);
    if (state_->sessions.contains(hash)) co_return state_->by_session(hash);
    co_return state_->by_token(hash);
}

Result<http::Principal> Access::find(const std::string& name) {
    if (name.starts_with("local/")) {
        return http::Principal{name, name == "local/0" ? "root" : "uid " + name.substr(6)};
    }
    std::string login;
    std::optional<Uuid> user_id = id_in(name, "user");
    if (const auto token_id = id_in(name, "token")) {
        const auto* token = state_->records.get<model::Token>(*token_id);
        const bool is_valid =
            token != nullptr &&
            (token->spec.expires_ns == 0 || token->spec.expires_ns > state_->clock.wall_ns());
        if (is_valid) user_id = token->spec.user;
        if (is_valid) login = fmt::format(" (token {})", token->name);
    }
    const auto* user = user_id ? state_->records.get<model::User>(*user_id) : nullptr;
    if (user == nullptr || user->spec.disabled) {
        return Error(ErrorCode::denied,
                     fmt::format("{}: is disabled, expired or deleted", to_plain_text(name)));
    }
    return http::Principal{name, user->name + login};
}

Result<void> Access::authorize(const http::Principal& principal, std::string_view permission,
                               std::string_view resource) {
    if (principal.name.starts_with("local/")) return {};
    const auto lacks = [&] {
        return Error(ErrorCode::denied, fmt::format("{} lacks the permission {} on {}",
                                                    principal.login, permission, resource));
    };
    TRY(find(principal.name));
    const Roles roles = all_roles(state_->records);
    std::optional<Uuid> user_id = id_in(principal.name, "user");
    if (const auto token_id = id_in(principal.name, "token")) {
        const auto* token = state_->records.get<model::Token>(*token_id);
        user_id = token->spec.user;
        const bool is_limited = !token->spec.grants.empty();
        if (is_limited && !allows(token->spec.grants, roles, permission, resource)) return lacks();
    }
    const auto* user = state_->records.get<model::User>(*user_id);
    if (!allows(user->spec.grants, roles, permission, resource)) return lacks();
    return {};
}

Async<model::LoginResult> Access::login(model::Login request, std::string peer) {
    State& state = *state_;
    const std::string name = request.user.substr(0, model::kNameBytesMax);
    const int64_t now_ns = state.clock.monotonic_ns();
    CO_TRY(state.users.check(name, now_ns));
    CO_TRY(state.addresses.check(peer, now_ns));
    // Counted before the password is looked at, so that many at once do not get further.
    state.users.failed(name, now_ns);
    state.addresses.failed(peer, now_ns);

    const auto named = state.records.find<model::User>(request.user);
    const bool is_known = named.ok() && !(*named)->spec.disabled;
    const Uuid id = is_known ? (*named)->id : Uuid();
    CO_TRY_ASSIGN(const auto entry, co_await state.store.get(password_key(id)));
    std::string hash;
    if (entry) {
        CO_TRY_ASSIGN(const StoredHash stored, read<StoredHash>(*entry));
        hash = stored.hash;
    }
    CO_TRY_ASSIGN(const bool is_right, co_await state.verify(request.password, hash));
    const auto* user = state.records.get<model::User>(id);  // as of now
    if (!is_right || user == nullptr || user->spec.disabled) co_return no_login();
    state.users.succeeded(name);
    state.addresses.succeeded(peer);

    const std::string token = new_token("session", state.random);
    const int64_t wall_ns = state.clock.wall_ns();
    const Session session{id, wall_ns, wall_ns + state.options.session_ns};
    model::UserStatus status = user->status;
    status.seen_ns = wall_ns;
    state::Txn txn;
    records::expect<model::User>(txn, *user);
    records::put_status<model::User>(txn, id, status);
    txn.puts.push_back({session_key(hash_token(token)), to_text(to_json(session))});
    state.forget_expired(txn);
    const auto done = co_await state.records.commit(std::move(txn));
    if (!done.ok()) co_return done.error();
    state.sessions[hash_token(token)] = session;
    co_return model::LoginResult{token, session.expires_ns};
}

Async<> Access::logout(std::string bearer) {
    const std::string hash = hash_token(bearer);
    if (state_->sessions.erase(hash) == 0) co_return Result<void>();
    state::Txn txn;
    txn.deletes.push_back(session_key(hash));
    const auto done = co_await state_->records.commit(std::move(txn));
    if (!done.ok()) co_return done.error();
    co_return Result<void>();
}

Async<Uuid> Access::create_user(model::UserCreate request) {
    State& state = *state_;
    model::Record<model::User> record;
    record.id = model::make_id(state.clock.wall_ns(), state.random.next(), state.random.next());
    record.name = request.name;
    record.labels = request.labels;
    record.created_ns = state.clock.wall_ns();
    record.spec = {request.grants, request.disabled};
    CO_TRY(model::check_name(record.name));
    CO_TRY(model::check_labels(record.labels));
    CO_TRY(check_grants(state.records, record.spec.grants));
    state::Txn txn;
    if (!request.password.empty()) {
        CO_TRY(check_password(request.password));
        CO_TRY_ASSIGN(const std::string hash, co_await state.hash(request.password));
        record.status.has_password = true;
        record.status.password_ns = record.created_ns;
        txn.puts.push_back({password_key(record.id), to_text(to_json(StoredHash{hash}))});
    }
    records::create<model::User>(txn, record);
    const auto done = co_await state.records.commit(std::move(txn));
    if (!done.ok()) co_return done.error();
    co_return record.id;
}

void Access::State::end_sessions(state::Txn& txn, const Uuid& user) {
    for (auto at = sessions.begin(); at != sessions.end();) {
        if (at->second.user != user) {
            ++at;
            continue;
        }
        // Those that do not fit are older than the password, and over for that.
        if (txn.deletes.size() < kExpiredMax) txn.deletes.push_back(session_key(at->first));
        at = sessions.erase(at);
    }
}

Async<> Access::set_password(std::string user, model::UserPassword request,
                             const http::Principal& principal) {
    State& state = *state_;
    CO_TRY(check_password(request.password));
    const auto found = state.records.find<model::User>(user);
    if (!found.ok()) co_return found.error();
    const Uuid id = (*found)->id;
    if (principal.name == "user/" + id.to_string()) {
        model::Login same{(*found)->name, request.old_password};
        const auto entry = co_await state.store.get(password_key(id));
        if (!entry.ok()) co_return entry.error();
        CO_TRY(state.users.check(same.user, state.clock.monotonic_ns()));
        std::string old_hash;
        if (*entry) {
            CO_TRY_ASSIGN(const StoredHash stored, read<StoredHash>(**entry));
            old_hash = stored.hash;
        }
        CO_TRY_ASSIGN(const bool is_right, co_await state.verify(same.password, old_hash));
        if (!is_right) {
            state.users.failed(same.user, state.clock.monotonic_ns());
            co_return Error(ErrorCode::denied, "old_password: is wrong");
        }
    }
    CO_TRY_ASSIGN(const std::string hash, co_await state.hash(request.password));
    const auto* record = state.records.get<model::User>(id);
    if (record == nullptr) co_return Error(ErrorCode::not_found, "the user was deleted meanwhile");
    model::UserStatus status = record->status;
    status.has_password = true;
    status.password_ns = state.clock.wall_ns();
    state::Txn txn;
    records::expect<model::User>(txn, *record);
    records::put_status<model::User>(txn, id, status);
    txn.puts.push_back({password_key(id), to_text(to_json(StoredHash{hash}))});
    state.end_sessions(txn, id);
    const auto done = co_await state.records.commit(std::move(txn));
    if (!done.ok()) co_return done.error();
    co_return Result<void>();
}

Async<model::TokenCreated> Access::create_token(model::TokenCreate request,
                                                http::Principal principal) {
    State& state = *state_;
    std::string user = request.user;
    if (user.empty() && id_in(principal.name, "user")) user = principal.name.substr(5);
    if (user.empty()) {
        co_return Error(ErrorCode::invalid_argument, "user: say for whom the token acts");
    }
    const auto found = state.records.find<model::User>(user);
    if (!found.ok()) co_return found.error().with_context("user");
    if (principal.name != "user/" + (*found)->id.to_string()) {
        CO_TRY(authorize(principal, "user.set", "/"));
    }
    model::Record<model::Token> record;
    record.id = model::make_id(state.clock.wall_ns(), state.random.next(), state.random.next());
    record.name = request.name;
    record.labels = request.labels;
    record.created_ns = state.clock.wall_ns();
    record.spec = {(*found)->id, request.grants, request.expires_ns};
    CO_TRY(model::check_name(record.name));
    CO_TRY(model::check_labels(record.labels));
    CO_TRY(check_grants(state.records, record.spec.grants));
    if (request.expires_ns != 0 && request.expires_ns <= record.created_ns) {
        co_return Error(ErrorCode::invalid_argument, "expires_ns: is over already");
    }
    const std::string token = new_token("token", state.random);
    const std::string hash = hash_token(token);
    state::Txn txn;
    records::expect<model::User>(txn, **found);
    records::create<model::Token>(txn, record);
    txn.puts.push_back({token_key(record.id), to_text(to_json(StoredHash{hash}))});
    const auto done = co_await state.records.commit(std::move(txn));
    if (!done.ok()) co_return done.error();
    state.tokens[hash] = record.id;
    co_return model::TokenCreated{record.id, token};
}

bool has_administrator(const records::Records& records) {
    return std::ranges::any_of(records.all<model::User>(), [](const auto& one) {
        const model::Record<model::User>& user = one.second;
        return !user.spec.disabled && user.status.has_password &&
               is_administrator(user.spec.grants);
    });
}

bool Access::has_administrator() const { return access::has_administrator(state_->records); }

}  // namespace stoa::access
