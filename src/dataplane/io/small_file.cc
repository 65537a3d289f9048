#include "dataplane/io/small_file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <thread>

#include <fmt/format.h>

#include "dataplane/io/lock_holder.h"
#include "dataplane/io/system_error.h"

namespace stoa::io {

namespace {

Result<void> write_whole(const FileDescriptor& file, std::string_view content,
                         const std::string& path) {
    while (!content.empty()) {
        const ssize_t written = ::write(file.get(), content.data(), content.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return system_error("file " + path + ": cannot write", errno);
        content.remove_prefix(static_cast<size_t>(written));
    }
    if (::fsync(file.get()) != 0) return system_error("file " + path + ": cannot flush", errno);
    return {};
}

Result<void> sync_directory(const std::string& path) {
    const FileDescriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory.is_open() || ::fsync(directory.get()) != 0) {
        return system_error("directory " + path + ": cannot flush", errno);
    }
    return {};
}

}  // namespace

Result<std::string> read_small_file(const std::string& path, size_t bytes_max) {
    const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
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

Result<void> replace_small_file(const std::string& path, std::string_view content) {
    const std::string fresh = path + ".new";
    const auto give_up = [&fresh](Error error) {
        static_cast<void>(::unlink(fresh.c_str()));
        return error;
    };
    {
        const FileDescriptor file(
            ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
        if (!file.is_open()) return system_error("file " + fresh + ": cannot create", errno);
        auto written = write_whole(file, content, fresh);
        if (!written.ok()) return give_up(written.take_error());
    }
    if (::rename(fresh.c_str(), path.c_str()) != 0) {
        return give_up(system_error("file " + path + ": cannot replace", errno));
    }
    return sync_directory(std::filesystem::path(path).parent_path().string());
}

Result<void> make_directories(const std::string& path) {
    std::filesystem::path so_far;
    for (const auto& part : std::filesystem::path(path)) {
        so_far /= part;
        if (::mkdir(so_far.c_str(), 0700) != 0 && errno != EEXIST) {
            return system_error("directory " + so_far.string() + ": cannot create", errno);
        }
    }
    struct stat there{};
    if (::stat(path.c_str(), &there) != 0 || !S_ISDIR(there.st_mode)) {
        return Error(ErrorCode::io, "directory " + path + ": is no directory");
    }
    return {};
}

Result<FileDescriptor> lock_file(const std::string& path, uint32_t wait_ms) {
    FileDescriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file.is_open()) return system_error("file " + path + ": cannot open", errno);
    constexpr std::chrono::milliseconds kEvery(20);
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::milliseconds(wait_ms);
    while (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno == EINTR) continue;
        if (errno != EWOULDBLOCK) return system_error("file " + path + ": cannot lock", errno);
        if (std::chrono::steady_clock::now() >= give_up) {
            return Error(ErrorCode::busy, "file " + path + ": is locked by " +
                                              lock_holder(path).value_or("another process"));
        }
        std::this_thread::sleep_for(kEvery);
    }
    return file;
}

bool is_on_tmpfs(const std::string& path) {
    struct statfs status{};
    return ::statfs(path.c_str(), &status) == 0 && status.f_type == TMPFS_MAGIC;
}

bool can_be_opened(const std::string& path) {
    return FileDescriptor(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)).is_open();
}

Result<void> check_private_directory(const std::string& path) {
    const FileDescriptor directory(
        ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat there{};
    if (!directory.is_open() || ::fstat(directory.get(), &there) != 0) {
        return system_error(fmt::format("directory {}: cannot open it", path), errno);
    }
    if (there.st_uid == ::geteuid() && (there.st_mode & (S_IWGRP | S_IWOTH)) == 0) return {};
    return Error(ErrorCode::invalid_argument,
                 fmt::format("directory {}: belongs to uid {} with mode {:o}; it must "
                             "belong to uid {}, and nobody else may write there",
                             path, there.st_uid, there.st_mode & 07777U, ::geteuid()));
}

}  // namespace stoa::io
