#include "controlplane/host/open_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace stoa::host {

namespace {

constexpr size_t kCopyBytesMax = size_t{64} << 20;

Result<Descriptor> open_regular(const std::string& path, int flags) {
    Descriptor file(::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (!file.is_open()) return system_error(path, errno);
    struct stat status{};
    if (::fstat(file.get(), &status) != 0) return system_error(path, errno);
    if (!S_ISREG(status.st_mode)) {
        return Error(ErrorCode::invalid_argument, path + ": not a regular file");
    }
    return file;
}

}  // namespace

Result<Descriptor> open_to_read(const std::string& path) { return open_regular(path, O_RDONLY); }

Result<Descriptor> open_own_copy(const std::string& original, const std::string& copy,
                                 FileOwner owner) {
    auto file = open_regular(copy, O_RDWR);
    if (!file.ok() && file.error().code() == ErrorCode::not_found) {
        TRY_ASSIGN(const std::string content, read_file(original, kCopyBytesMax));
        TRY(replace_file(copy, content));
        file = open_regular(copy, O_RDWR);
    }
    if (!file.ok()) return file;
    if (::fchown(file->get(), owner.uid, owner.gid) != 0 && errno != EPERM) {
        return system_error(copy, errno);
    }
    return file;
}

}  // namespace stoa::host
