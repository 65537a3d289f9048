// Who is at the other end of a Unix socket, and what the user database says of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"

namespace stoa::host {

struct Peer {
    int32_t pid = 0;
    uint32_t uid = 0;
    uint32_t gid = 0;
};

// Of a connected Unix socket: as it was when it connected. Errors: invalid_argument (no such
// socket), io.
Result<Peer> peer_of(int socket);

// Whether the user is in the group, by the user database; false if there is no such group or user.
// Reads files (or asks what nsswitch.conf names): may block. `primary_gid` counts too.
[[nodiscard]] bool is_member(uint32_t uid, uint32_t primary_gid, const std::string& group);
// Nothing if there is none.
[[nodiscard]] std::optional<uint32_t> find_group(const std::string& group);
// "alice", or "uid 1000" if the database does not know it.
[[nodiscard]] std::string user_name(uint32_t uid);

[[nodiscard]] uint32_t own_uid();
[[nodiscard]] uint32_t own_gid();

}  // namespace stoa::host
