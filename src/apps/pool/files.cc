#include "apps/pool/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "dataplane/io/device_paths.h"

namespace stoa::apps::pool {

namespace {

Error system_error(const std::string& path, const char* action) {
    const int number = errno;
    return Error(ErrorCode::io, fmt::format("{}: cannot {}: {}", path, action, strerror(number)),
                 number);
}

// A lock of the open file, which conflicts with the one of a process that has it open to write.
Result<void> lock_shared(const std::string& path, int fd) {
    struct flock lock = {};
    lock.l_type = F_RDLCK;
    lock.l_whence = SEEK_SET;
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0) return {};
    if (errno == EAGAIN || errno == EACCES) {
        return Error(ErrorCode::busy,
                     fmt::format("{}: another process has the pool open; stop it, or use --online "
                                 "to look without stopping it",
                                 path));
    }
    return system_error(path, "lock");
}

}  // namespace

Result<std::unique_ptr<FileSource>> FileSource::open(const std::string& path, bool lock) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return system_error(path, "open");
    std::unique_ptr<FileSource> file(new FileSource(path, fd));
    struct stat status = {};
    if (fstat(fd, &status) != 0) return system_error(path, "look at it");
    if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("{}: is neither a file nor a block device", path));
    }
    if (lock) TRY(lock_shared(path, fd));
    const off_t end = lseek(fd, 0, SEEK_END);
    if (end < 0) return system_error(path, "find its size");
    file->size_bytes_ = static_cast<uint64_t>(end);
    return file;
}

FileSource::~FileSource() { ::close(fd_); }

bool FileSource::read(uint64_t offset_bytes, MutableBytes into) {
    size_t done = 0;
    while (done < into.size()) {
        const ssize_t got = pread(fd_, into.data() + done, into.size() - done,
                                  static_cast<off_t>(offset_bytes + done));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        done += static_cast<size_t>(got);
    }
    return true;
}

Result<Files> open_files(const std::vector<std::string>& paths, bool lock) {
    TRY(io::check_distinct(paths));
    Files files;
    for (const std::string& path : paths) {
        TRY_ASSIGN(auto file, FileSource::open(path, lock));
        files.sources.push_back(file.get());
        files.owned.push_back(std::move(file));
    }
    return files;
}

}  // namespace stoa::apps::pool
