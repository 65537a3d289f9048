// The conversation with a control plane: finds it, asks it, and survives its restarts.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "client/client.h"

namespace stoa::cli {

// Documented in docs/guide/cli.md.
enum ExitCode : int {
    kDone = 0,
    kFailed = 1,
    kRefused = 2,
    kNoDaemon = 3,
    kNotFound = 4,
    kConflict = 5,
    kDenied = 6,
    kTimedOut = 7,
    kInterrupted = 130,
};

struct SessionOptions {
    std::string remote = {};  // name of one of remotes.json; empty: this machine
    std::string socket = {};
    std::string root = {};
    std::optional<std::chrono::milliseconds> limit = std::nullopt;  // of each request and of waits
};

class Session {
public:
    explicit Session(SessionOptions options) : options_(std::move(options)) {}

    // Connects at the first request. What may be repeated is, for some seconds, while the daemon
    // is away. Errors: as client::Client; not_found, io (there is none).
    Result<Json> get(const std::string& target);
    // Anything but GET; sent with an idempotency key. `if_match` empty: whatever it is now.
    Result<client::Answer> send(client::Method method, const std::string& target,
                                const Json& body = nullptr, const std::string& if_match = {});
    // All pages of a collection.
    Result<JsonArray> list(const std::string& target);
    Result<std::string> get_text(const std::string& target);

    // For what is not one request: events, consoles, files.
    Result<client::Client*> client();
    [[nodiscard]] const SessionOptions& options() const { return options_; }
    // How the program ends after this error of the session (or of a task).
    [[nodiscard]] int exit_code(const Error& error) const;
    [[nodiscard]] bool was_interrupted() const;

private:
    Result<client::Endpoint> find() const;
    Result<client::Answer> exchange(const client::Call& call);
    [[nodiscard]] bool may_wait_for_daemon() const;

    SessionOptions options_;
    std::unique_ptr<client::Client> client_;
    bool was_connected_ = false;
    bool is_missing_ = false;  // no daemon was found
};

// What the program ends with for a code alone.
[[nodiscard]] int exit_code_of(ErrorCode code);

// "/v1/vms/web1"; the noun's words '/' and '@' in `reference` become '~'.
[[nodiscard]] std::string item_target(std::string_view plural, std::string_view reference);

}  // namespace stoa::cli
