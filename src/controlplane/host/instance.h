// An instance: one root directory and what belongs to it on this machine.
//
// Its id is 8 hexadecimal digits and names its sockets' directory, links, tables and cgroups. It is
// what stoa-blockd drew by lot for this root (ROOT/blockd/state.json, "instance"), and is
// remembered in ROOT/stoad/instance: what runs keeps its names even if that file is lost and drawn
// anew.
//
// The runtime directory RUN is /run/stoa/ID for root, else $XDG_RUNTIME_DIR/stoa/ID, else
// /tmp/stoa-UID/ID. Root's has mode 0711, so that each VM's user reaches its own directory in it.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "controlplane/host/descriptor.h"

namespace stoa::host {

// A Unix socket's path, without the zero at its end.
constexpr size_t kSocketPathBytesMax = 107;

// Errors: invalid_argument ("socket path …: 131 bytes, at most 107; choose a shorter …").
Result<void> check_socket_path(std::string_view path);

// 8 hexadecimal digits, lower case.
[[nodiscard]] bool is_instance_id(std::string_view text);

// The id of `root`, and remembers it (ROOT/stoad is made if missing). Errors: not_found
// (stoa-blockd has never run in this root: start it, and ask again), corrupt, denied, io.
Result<std::string> instance_id(const std::string& root);

// Where this user's runtime directory of an instance is; nothing is made. `user_directory`: the
// value of XDG_RUNTIME_DIR, or empty.
[[nodiscard]] std::string runtime_directory(std::string_view instance, uint32_t uid,
                                            std::string_view user_directory);

// The instance of a running stoad. Holds the lock of the root until it is destroyed.
class Instance {
public:
    // Locks ROOT/stoad/lock, finds the id, makes RUN and RUN/vm. `root` becomes absolute.
    // Errors: busy (another stoad has this root: its pid and command line), not_found (as
    // instance_id), denied (somebody else could write there), invalid_argument (paths too long).
    static Result<Instance> open(const std::string& root);

    [[nodiscard]] const std::string& root() const { return root_; }
    [[nodiscard]] const std::string& id() const { return id_; }
    [[nodiscard]] const std::string& runtime() const { return runtime_; }
    // RUN/NAME; checks its length as a socket's path.
    [[nodiscard]] Result<std::string> socket_path(std::string_view name) const;
    // ROOT/stoad/NAME.
    [[nodiscard]] std::string state_path(std::string_view name) const;

private:
    Instance(std::string root, std::string id, std::string runtime, Descriptor lock)
        : root_(std::move(root)), id_(std::move(id)), runtime_(std::move(runtime)),
          lock_(std::move(lock)) {}
    std::string root_;
    std::string id_;
    std::string runtime_;
    Descriptor lock_;
};

}  // namespace stoa::host
