#include "controlplane/journal/append_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include <fmt/format.h>

namespace stoa::journal {

namespace {

ErrorCode code_of(int number) {
    switch (number) {
        case ENOSPC:
        case EDQUOT: return ErrorCode::no_space;
        case EACCES:
        case EPERM: return ErrorCode::denied;
        case EROFS: return ErrorCode::read_only;
        default: return ErrorCode::io;
    }
}

// The entry of a new file in its directory.
void sync_directory_of(const std::string& path) {
    const std::string directory = std::filesystem::path(path).parent_path();
    // tidy: allow syscall: a directory is synced only through a descriptor of it
    const int descriptor = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return;
    fsync(descriptor);    // tidy: allow syscall: the same
    ::close(descriptor);  // tidy: allow syscall: the same
}

}  // namespace

AppendFile::AppendFile(AppendFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), path_(std::move(other.path_)),
      size_bytes_(other.size_bytes_) {}

AppendFile& AppendFile::operator=(AppendFile&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    std::swap(path_, other.path_);
    std::swap(size_bytes_, other.size_bytes_);
    return *this;
}

AppendFile::~AppendFile() {
    // tidy: allow syscall: this class owns the descriptor
    if (descriptor_ >= 0) ::close(descriptor_);
}

Error AppendFile::failed(std::string_view what) const {
    const int number = errno;
    return {code_of(number),
            fmt::format("{}: {}: {}", path_, what, std::generic_category().message(number)),
            number};
}

Result<AppendFile> AppendFile::open_with(const std::string& path, int flags) {
    AppendFile file;
    file.path_ = path;
    // tidy: allow syscall: std has neither a sync nor a truncation of an open file
    file.descriptor_ = ::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file.descriptor_ < 0) return file.failed("cannot be opened");
    const off_t end = lseek(file.descriptor_, 0, SEEK_END);
    if (end < 0) return file.failed("has no size");
    file.size_bytes_ = static_cast<uint64_t>(end);
    return file;
}

Result<AppendFile> AppendFile::open(const std::string& path) {
    std::error_code ignored;
    const bool is_new = !std::filesystem::exists(path, ignored);
    auto file = open_with(path, O_RDWR | O_CREAT);
    if (file.ok() && is_new) sync_directory_of(path);
    return file;
}

Result<AppendFile> AppendFile::open_to_read(const std::string& path) {
    return open_with(path, O_RDONLY);
}

Result<void> AppendFile::append(std::string_view text) {
    uint64_t at = size_bytes_;
    std::string_view left = text;
    while (!left.empty()) {
        // tidy: allow syscall: as open
        const ssize_t done = pwrite(descriptor_, left.data(), left.size(),
                                    static_cast<off_t>(at));  // tidy: allow syscall: as open
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) {
            Error error = failed("cannot be written");
            static_cast<void>(cut_to(size_bytes_));
            return error;
        }
        at += static_cast<uint64_t>(done);
        left.remove_prefix(static_cast<size_t>(done));
    }
    if (fdatasync(descriptor_) != 0) {  // tidy: allow syscall: as open
        Error error = failed("cannot be made durable");
        static_cast<void>(cut_to(size_bytes_));
        return error;
    }
    size_bytes_ = at;
    return {};
}

Result<void> AppendFile::cut_to(uint64_t size_bytes) {
    // tidy: allow syscall: as open
    if (ftruncate(descriptor_, static_cast<off_t>(size_bytes)) != 0) return failed("cannot be cut");
    size_bytes_ = size_bytes;
    return {};
}

Result<std::string> AppendFile::read(uint64_t offset, size_t bytes) const {
    std::string text(bytes, '\0');
    size_t have = 0;
    while (have < bytes) {
        // tidy: allow syscall: as open
        const ssize_t done =
            pread(descriptor_, text.data() + have, bytes - have,  // tidy: allow syscall: as open
                  static_cast<off_t>(offset + have));
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return failed("cannot be read");
        if (done == 0) break;
        have += static_cast<size_t>(done);
    }
    text.resize(have);
    return text;
}

}  // namespace stoa::journal
