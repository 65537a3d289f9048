#include "apps/demo/workspace.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>  // mkdtemp
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace stoa::apps::demo {

namespace {

constexpr uint64_t kSpaceNeededBytes = uint64_t{1} << 30;

Error system_error(const std::string& path, const char* action) {
    const int number = errno;
    return Error(ErrorCode::io, fmt::format("{}: cannot {}: {}", path, action, strerror(number)),
                 number);
}

}  // namespace

Workspace::Workspace(std::string folder) : folder_(std::move(folder)) {
    // The name is unique where the folder is; the process makes it unique everywhere.
    ring_ =
        fmt::format("/dev/shm/{}-{}", std::filesystem::path(folder_).filename().string(), getpid());
}

Result<std::unique_ptr<Workspace>> Workspace::create() {
    const char* parent = std::getenv("TMPDIR");
    std::string folder = std::string(parent == nullptr ? "/tmp" : parent) + "/stoa-demo-XXXXXX";
    if (mkdtemp(folder.data()) == nullptr) return system_error(folder, "make this folder");
    std::unique_ptr<Workspace> workspace(new Workspace(folder));
    struct statvfs status{};
    if (statvfs(folder.c_str(), &status) != 0) return system_error(folder, "look at its disk");
    const uint64_t free_bytes = uint64_t{status.f_bavail} * status.f_frsize;
    if (free_bytes < kSpaceNeededBytes) {
        return Error(ErrorCode::no_space,
                     fmt::format("{}: has {} MiB free, the demo needs {}; set TMPDIR to a folder "
                                 "with more",
                                 folder, free_bytes >> 20, kSpaceNeededBytes >> 20));
    }
    if (chdir(folder.c_str()) != 0) return system_error(folder, "enter this folder");
    return workspace;
}

Workspace::~Workspace() {
    remove_ring();
    static_cast<void>(!chdir("/"));
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
}

void Workspace::remove_ring() const { unlink(ring_.c_str()); }

Result<void> wait_until_free(const std::string& file) {
    const int fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) return system_error(file, "open");
    bool is_free = false;
    for (int attempt = 0; !is_free && attempt < 500; ++attempt) {
        if (attempt > 0) usleep(10'000);
        struct flock lock{};
        lock.l_type = F_WRLCK;
        lock.l_whence = SEEK_SET;
        is_free = fcntl(fd, F_OFD_SETLK, &lock) == 0;
    }
    ::close(fd);
    if (!is_free) return Error(ErrorCode::busy, fmt::format("{}: somebody keeps it locked", file));
    return {};
}

Result<void> flip_byte(const std::string& file, uint64_t offset_bytes) {
    const int fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) return system_error(file, "open");
    const auto at = static_cast<off_t>(offset_bytes);
    unsigned char byte = 0;
    bool good = pread(fd, &byte, 1, at) == 1;
    byte ^= 0x10;
    good = good && pwrite(fd, &byte, 1, at) == 1 && fsync(fd) == 0;
    const int number = errno;
    ::close(fd);
    errno = number;
    if (!good) return system_error(file, "change a byte");
    return {};
}

}  // namespace stoa::apps::demo
