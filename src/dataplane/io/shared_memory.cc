#include "dataplane/io/shared_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/check.h"
#include "dataplane/io/file_descriptor.h"
#include "dataplane/io/system_error.h"

namespace stoa::io {

namespace {

class MappedFile final : public SharedMemory {
public:
    MappedFile(MutableBytes mapped, std::string path, struct stat opened)
        : mapped_(mapped), path_(std::move(path)), opened_(opened) {}
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;
    ~MappedFile() override { munmap(mapped_.data(), mapped_.size()); }

    [[nodiscard]] MutableBytes bytes() override { return mapped_; }
    [[nodiscard]] bool can_be_found() const override {
        struct stat now{};
        return stat(path_.c_str(), &now) == 0 && now.st_dev == opened_.st_dev &&
               now.st_ino == opened_.st_ino;
    }

private:
    const MutableBytes mapped_;
    const std::string path_;
    const struct stat opened_;
};

Error failed(const std::string& path, const char* action) {
    const int code = errno;
    return {code == ENOSPC ? ErrorCode::no_space : ErrorCode::io,
            "shared memory " + path + ": cannot " + action + ": " + errno_text(code), code};
}

Result<FileDescriptor> open_file(const std::string& path) {
    FileDescriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
                               S_IRUSR | S_IWUSR));
    if (!file.is_open()) return failed(path, "open");
    return file;
}

// The size of the file; an error for anything that is not a regular file of our own.
Result<uint64_t> size_of(const FileDescriptor& file, const std::string& path) {
    struct stat status{};
    if (fstat(file.get(), &status) != 0) return failed(path, "look at it");
    if (!S_ISREG(status.st_mode)) {
        return Error(ErrorCode::io, "shared memory " + path + ": is not a regular file");
    }
    if (status.st_uid != geteuid() || (status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        return Error(
            ErrorCode::io,
            fmt::format("shared memory {}: belongs to uid {} with mode {:o}: somebody else "
                        "may have changed it; it must belong to uid {}, and nobody else "
                        "may write it",
                        path, status.st_uid, status.st_mode & 07777U, geteuid()));
    }
    return static_cast<uint64_t>(status.st_size);
}

// Sizes the file and takes its memory now: a full tmpfs is an error here, not a SIGBUS later.
Result<void> reserve(const FileDescriptor& file, const std::string& path, size_t size_bytes) {
    const auto length = static_cast<off_t>(size_bytes);
    if (ftruncate(file.get(), length) != 0) return failed(path, "size it");
    int result = 0;
    do {
        result = fallocate(file.get(), 0, 0, length);
    } while (result != 0 && errno == EINTR);
    if (result != 0 && errno != EOPNOTSUPP) return failed(path, "reserve its memory");
    return {};
}

}  // namespace

Result<std::unique_ptr<SharedMemory>> open_shared_memory(const std::string& path,
                                                         size_t size_bytes) {
    CHECK(size_bytes > 0);
    TRY_ASSIGN(FileDescriptor file, open_file(path));
    TRY_ASSIGN(uint64_t found_bytes, size_of(file, path));
    if (found_bytes != size_bytes && found_bytes != 0) {
        // A new file: whoever still maps the old one must not lose the pages under its feet.
        if (unlink(path.c_str()) != 0) return failed(path, "replace it");
        TRY_ASSIGN(file, open_file(path));
        TRY_ASSIGN(found_bytes, size_of(file, path));
    }
    auto reserved = reserve(file, path, size_bytes);
    if (!reserved.ok()) {
        // Nothing is left behind that has the right size and no memory.
        if (found_bytes != size_bytes) unlink(path.c_str());
        return reserved.take_error();
    }
    struct stat opened{};
    if (fstat(file.get(), &opened) != 0) return failed(path, "look at it");
    void* mapped =
        mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file.get(), 0);
    if (mapped == MAP_FAILED) return failed(path, "map it");
    return std::unique_ptr<SharedMemory>(std::make_unique<MappedFile>(
        MutableBytes(static_cast<std::byte*>(mapped), size_bytes), path, opened));
}

}  // namespace stoa::io
