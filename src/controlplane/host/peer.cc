#include "controlplane/host/peer.h"

#include <grp.h>
#include <pwd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include <fmt/format.h>

#include "controlplane/host/descriptor.h"

namespace stoa::host {

namespace {

constexpr size_t kDatabaseBytesMax = size_t{1} << 20;
constexpr size_t kDatabaseBytes = 4096;
constexpr int kGroupsMax = 65536;

struct User {
    std::string name;
    uint32_t gid = 0;
};

std::optional<User> find_user(uint32_t uid) {
    passwd entry{};
    passwd* found = nullptr;
    for (std::vector<char> buffer(kDatabaseBytes); buffer.size() <= kDatabaseBytesMax;
         buffer.resize(buffer.size() * 2)) {
        const int failed = ::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found);
        if (failed == ERANGE) continue;
        if (failed != 0 || found == nullptr) return std::nullopt;
        return User{.name = found->pw_name, .gid = found->pw_gid};
    }
    return std::nullopt;
}

}  // namespace

Result<Peer> peer_of(int socket) {
    ucred found{};
    socklen_t size = sizeof found;
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &found, &size) != 0) {
        return system_error("peer of a socket", errno);
    }
    // Sockets of other families answer with nobody.
    if (found.pid == 0 && found.uid == UINT32_MAX) {
        return Error(ErrorCode::invalid_argument, "peer of a socket: it is no Unix socket");
    }
    return Peer{.pid = found.pid, .uid = found.uid, .gid = found.gid};
}

std::optional<uint32_t> find_group(const std::string& group) {
    ::group entry{};
    ::group* found = nullptr;
    for (std::vector<char> buffer(kDatabaseBytes); buffer.size() <= kDatabaseBytesMax;
         buffer.resize(buffer.size() * 2)) {
        const int failed =
            ::getgrnam_r(group.c_str(), &entry, buffer.data(), buffer.size(), &found);
        if (failed == ERANGE) continue;
        if (failed != 0 || found == nullptr) return std::nullopt;
        return found->gr_gid;
    }
    return std::nullopt;
}

bool is_member(uint32_t uid, uint32_t primary_gid, const std::string& group) {
    const std::optional<uint32_t> wanted = find_group(group);
    if (!wanted) return false;
    if (primary_gid == *wanted) return true;
    const std::optional<User> user = find_user(uid);
    if (!user) return false;
    int count = 64;
    std::vector<gid_t> groups(static_cast<size_t>(count));
    while (::getgrouplist(user->name.c_str(), user->gid, groups.data(), &count) < 0) {
        if (count > kGroupsMax) return false;
        count = std::max(count, static_cast<int>(groups.size()) * 2);
        groups.resize(static_cast<size_t>(count));
    }
    groups.resize(static_cast<size_t>(count));
    return std::ranges::find(groups, *wanted) != groups.end();
}

std::string user_name(uint32_t uid) {
    const std::optional<User> user = find_user(uid);
    return user ? user->name : fmt::format("uid {}", uid);
}

uint32_t own_uid() { return ::geteuid(); }
uint32_t own_gid() { return ::getegid(); }

}  // namespace stoa::host
