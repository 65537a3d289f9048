#include "controlplane/host/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <memory>

#include <fmt/format.h>

namespace stoa::host {

namespace {

Result<void> write_whole(const Descriptor& file, std::string_view content,
                         const std::string& path) {
    while (!content.empty()) {
        const ssize_t written = ::write(file.get(), content.data(), content.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return system_error("file " + path + ": cannot write", errno);
        content.remove_prefix(static_cast<size_t>(written));
    }
    return {};
}

std::string parent_of(const std::string& path) {
    const std::string parent = std::filesystem::path(path).parent_path();
    return parent.empty() ? "." : parent;
}

Result<void> sync_directory(const std::string& path) {
    const Descriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory.is_open() || ::fsync(directory.get()) != 0) {
        return system_error("directory " + path + ": cannot flush", errno);
    }
    return {};
}

// The file PATH.new with everything about it as it is to be.
Result<void> write_fresh(const std::string& fresh, std::string_view content,
                         const WriteOptions& options) {
    if (::unlink(fresh.c_str()) != 0 && errno != ENOENT) {
        return system_error("file " + fresh + ": cannot remove", errno);
    }
    const Descriptor file(
        ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file.is_open()) return system_error("file " + fresh + ": cannot create", errno);
    TRY(write_whole(file, content, fresh));
    if (options.owner && ::fchown(file.get(), options.owner->uid, options.owner->gid) != 0) {
        return system_error(
            fmt::format("file {}: cannot give it to uid {}", fresh, options.owner->uid), errno);
    }
    if (::fchmod(file.get(), options.mode) != 0) {
        return system_error("file " + fresh + ": cannot set its mode", errno);
    }
    if (options.durable && ::fsync(file.get()) != 0) {
        return system_error("file " + fresh + ": cannot flush", errno);
    }
    return {};
}

}  // namespace

Result<std::string> read_file(const std::string& path, size_t bytes_max) {
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!file.is_open()) return system_error("file " + path + ": cannot open", errno);
    std::string content;
    std::array<char, 16384> piece{};
    while (true) {
        const ssize_t got = ::read(file.get(), piece.data(), piece.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return system_error("file " + path + ": cannot read", errno);
        if (got == 0) return content;
        content.append(piece.data(), static_cast<size_t>(got));
        if (content.size() > bytes_max) {
            return Error(ErrorCode::out_of_range,
                         fmt::format("file {}: more than {} bytes", path, bytes_max));
        }
    }
}

Result<void> replace_file(const std::string& path, std::string_view content,
                          const WriteOptions& options) {
    const std::string fresh = path + ".new";
    auto written = write_fresh(fresh, content, options);
    if (written.ok() && ::rename(fresh.c_str(), path.c_str()) != 0) {
        written = system_error("file " + path + ": cannot replace", errno);
    }
    if (!written.ok()) {
        static_cast<void>(::unlink(fresh.c_str()));
        return written;
    }
    if (options.durable) return sync_directory(parent_of(path));
    return {};
}

Result<void> write_setting(const std::string& path, std::string_view value) {
    const Descriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!file.is_open()) return system_error("setting " + path + ": cannot open", errno);
    while (::write(file.get(), value.data(), value.size()) < 0) {
        if (errno == EINTR) continue;
        return system_error(fmt::format("setting {}: cannot write \"{}\"", path, value), errno);
    }
    return {};
}

Result<void> remove_file(const std::string& path) {
    if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
    return system_error("file " + path + ": cannot remove", errno);
}

Result<void> make_directories(const std::string& path, uint32_t mode) {
    std::filesystem::path so_far;
    for (const auto& part : std::filesystem::path(path)) {
        so_far /= part;
        if (::mkdir(so_far.c_str(), mode) == 0 || errno == EEXIST) continue;
        const int number = errno;
        // On a read-only file system, what exists says EROFS.
        if (std::error_code none; std::filesystem::is_directory(so_far, none)) continue;
        return system_error("directory " + so_far.string() + ": cannot create", number);
    }
    struct stat there{};
    if (::stat(path.c_str(), &there) != 0 || !S_ISDIR(there.st_mode)) {
        return Error(ErrorCode::invalid_argument, "directory " + path + ": a file is in the way");
    }
    return {};
}

Result<void> make_private_directory(const std::string& path, uint32_t mode,
                                    std::optional<FileOwner> owner) {
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
        return system_error("directory " + path + ": cannot create", errno);
    }
    const Descriptor directory(
        ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat there{};
    if (!directory.is_open() || ::fstat(directory.get(), &there) != 0) {
        return system_error("directory " + path + ": cannot open", errno);
    }
    const FileOwner wanted = owner.value_or(FileOwner{::geteuid(), ::getegid()});
    if (there.st_uid != ::geteuid() && there.st_uid != wanted.uid) {
        return Error(ErrorCode::denied,
                     fmt::format("directory {}: belongs to uid {}; it must belong to uid {}", path,
                                 there.st_uid, wanted.uid));
    }
    const bool is_other = there.st_uid != wanted.uid || (owner && there.st_gid != wanted.gid);
    if (is_other && ::fchown(directory.get(), wanted.uid, wanted.gid) != 0) {
        return system_error(fmt::format("directory {}: cannot give it to uid {}", path, wanted.uid),
                            errno);
    }
    if (::fchmod(directory.get(), mode) != 0) {
        return system_error("directory " + path + ": cannot set its mode", errno);
    }
    return {};
}

Result<void> check_private_directory(const std::string& path) {
    const Descriptor directory(
        ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat there{};
    if (!directory.is_open() || ::fstat(directory.get(), &there) != 0) {
        return system_error("directory " + path + ": cannot open", errno);
    }
    const bool is_ours = there.st_uid == ::geteuid() || there.st_uid == 0;
    if (is_ours && (there.st_mode & (S_IWGRP | S_IWOTH)) == 0) return {};
    return Error(ErrorCode::denied,
                 fmt::format("directory {}: belongs to uid {} with mode {:o}; it must belong to "
                             "uid {}, and nobody else may write there (chown, chmod go-w)",
                             path, there.st_uid, there.st_mode & 07777U, ::geteuid()));
}

Result<std::vector<std::string>> list_directory(const std::string& path) {
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), ::closedir);
    if (!directory) return system_error("directory " + path + ": cannot open", errno);
    std::vector<std::string> names;
    while (true) {
        errno = 0;
        const dirent* entry = ::readdir(directory.get());
        if (entry == nullptr && errno != 0) {
            return system_error("directory " + path + ": cannot read", errno);
        }
        if (entry == nullptr) break;
        const std::string_view name = static_cast<const char*>(entry->d_name);
        if (name != "." && name != "..") names.emplace_back(name);
    }
    std::ranges::sort(names);
    return names;
}

Result<Space> space_of(const std::string& path) {
    std::filesystem::path at = path.empty() ? "." : path;
    struct statvfs found{};
    while (::statvfs(at.c_str(), &found) != 0) {
        const auto parent = at.has_parent_path() ? at.parent_path() : std::filesystem::path(".");
        if (errno != ENOENT || parent == at) {
            return system_error("space of " + path + ": cannot tell", errno);
        }
        at = parent;
    }
    return Space{.total_bytes = uint64_t{found.f_blocks} * found.f_frsize,
                 .free_bytes = uint64_t{found.f_bavail} * found.f_frsize};
}

bool is_on_tmpfs(const std::string& path) {
    struct statfs status{};
    return ::statfs(path.c_str(), &status) == 0 && status.f_type == TMPFS_MAGIC;
}

}  // namespace stoa::host
