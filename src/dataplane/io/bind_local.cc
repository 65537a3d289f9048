#include "dataplane/io/bind_local.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/crc32c.h"
#include "dataplane/io/file_descriptor.h"
#include "dataplane/io/system_error.h"

namespace stoa::io {

namespace {

struct Place {
    FileDescriptor directory;
    std::string name;
};

Result<Place> place_of(const Address& address) {
    const size_t slash = address.path.rfind('/');
    const std::string parent = slash == std::string::npos ? "." : address.path.substr(0, slash + 1);
    Place place{FileDescriptor(::open(parent.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)),
                address.path.substr(slash == std::string::npos ? 0 : slash + 1)};
    if (!place.directory.is_open()) {
        return system_error(address.to_string() + ": cannot listen", errno);
    }
    return place;
}

// However long the directory's path is.
sockaddr_un name_in(int directory, const std::string& name) {
    sockaddr_un system{};
    system.sun_family = AF_UNIX;
    std::ranges::copy(fmt::format("/proc/self/fd/{}/{}", directory, name), system.sun_path);
    return system;
}

// Connects: nothing else tells a socket that is listened to from one that was left.
bool is_live(const Place& place) {
    const FileDescriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const sockaddr_un there = name_in(place.directory.get(), place.name);
    if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&there), sizeof there) == 0) {
        return true;
    }
    return errno == EAGAIN || errno == EINPROGRESS || errno == EPROTOTYPE;
}

Result<void> check_free(const Place& place, const Address& address, bool takes_over) {
    struct stat there{};
    if (::fstatat(place.directory.get(), place.name.c_str(), &there, AT_SYMLINK_NOFOLLOW) != 0) {
        return {};
    }
    if (!S_ISSOCK(there.st_mode)) {
        return Error(ErrorCode::in_use, address.to_string() + ": the path exists and is no socket");
    }
    if (!takes_over && is_live(place)) {
        return Error(ErrorCode::in_use, address.to_string() + ": somebody listens there");
    }
    return {};
}

// Owner and mode of what was bound, whatever lies at its name by now.
int give_away(const Place& place, const std::string& fresh, const ListenOptions& options) {
    const FileDescriptor made(
        ::openat(place.directory.get(), fresh.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    struct stat there{};
    if (!made.is_open() || ::fstat(made.get(), &there) != 0) return errno;
    if (!S_ISSOCK(there.st_mode) || there.st_uid != ::geteuid()) return EPERM;
    const uid_t owner = options.owner.value_or(static_cast<uid_t>(-1));
    const gid_t group = options.group.value_or(static_cast<gid_t>(-1));
    if (::fchownat(made.get(), "", owner, group, AT_EMPTY_PATH) != 0) return errno;
    const std::string itself = fmt::format("/proc/self/fd/{}", made.get());
    return ::chmod(itself.c_str(), options.mode) == 0 ? 0 : errno;
}

}  // namespace

Result<void> bind_local(int file, const Address& address, const ListenOptions& options) {
    TRY_ASSIGN(const Place place, place_of(address));
    TRY(check_free(place, address, options.takes_over));
    // The same name each time: what a killed process left is found again.
    const std::string fresh =
        fmt::format(".stoa-{:08x}", crc32c(std::as_bytes(std::span(place.name))));
    const int directory = place.directory.get();
    struct stat left{};
    if (::fstatat(directory, fresh.c_str(), &left, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISSOCK(left.st_mode)) {
        static_cast<void>(::unlinkat(directory, fresh.c_str(), 0));
    }
    const sockaddr_un system = name_in(directory, fresh);
    if (::bind(file, reinterpret_cast<const sockaddr*>(&system), sizeof system) != 0) {
        return system_error(address.to_string() + ": cannot listen", errno);
    }
    int error = give_away(place, fresh, options);
    if (error == 0 && ::listen(file, options.backlog) != 0) error = errno;
    if (error == 0 && ::renameat(directory, fresh.c_str(), directory, place.name.c_str()) != 0) {
        error = errno;
    }
    if (error == 0) return {};
    static_cast<void>(::unlinkat(directory, fresh.c_str(), 0));
    return system_error(fmt::format("{}: cannot listen as uid {}", address.to_string(),
                                    options.owner.value_or(::geteuid())),
                        error);
}

}  // namespace stoa::io
