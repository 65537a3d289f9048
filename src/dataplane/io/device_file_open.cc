// Opening a device file: type, lock, size, direct I/O, and creation with everything durable.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <string>
#include <thread>
#include <utility>

#include "dataplane/io/device_file.h"
#include "dataplane/io/system_error.h"

namespace stoa::io {

namespace {

constexpr uint64_t kSectorBytes = 512;
constexpr uint64_t kNsPerMs = 1'000'000;
constexpr auto kLockRetry = std::chrono::milliseconds(20);
constexpr uint32_t kTransferBytesMax = 1u << 30;
constexpr uint32_t kTransferAlignment = 4096;

std::string named(const std::string& path, const char* text) {
    return "device " + path + ": " + text;
}

std::string directory_of(const std::string& path) {
    const size_t slash = path.find_last_of('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

// An error for what is not to be used as a device.
Result<void> check_mode(const std::string& path, mode_t mode) {
    if (S_ISBLK(mode) || S_ISREG(mode)) return {};
    return Error(ErrorCode::invalid_argument,
                 named(path, "is neither a regular file nor a block device"));
}

}  // namespace

DeviceFile::DeviceFile(Reactor& reactor, std::string path, const DeviceFileOptions& options)
    : reactor_(reactor), path_(std::move(path)), options_(options),
      client_(reactor.add_client(*this)) {}

Result<std::unique_ptr<DeviceFile>> DeviceFile::open(Reactor& reactor, const std::string& path,
                                                     const DeviceFileOptions& options) {
    std::unique_ptr<DeviceFile> device(new DeviceFile(reactor, path, options));
    auto prepared = device->prepare();
    if (!prepared.ok()) {
        if (device->created_) unlink(path.c_str());
        return prepared.take_error();
    }
    return device;
}

Result<std::unique_ptr<Device>> open_device(Reactor& reactor, const std::string& path,
                                            const DeviceFileOptions& options) {
    TRY_ASSIGN(std::unique_ptr<DeviceFile> device, DeviceFile::open(reactor, path, options));
    return std::unique_ptr<Device>(std::move(device));
}

Result<void> DeviceFile::prepare() {
    TRY(check_options());
    const uint64_t give_up_ns = reactor_.now_ns() + options_.lock_wait_ms * kNsPerMs;
    TRY(open_path(give_up_ns));
    TRY(check_type());
    if (options_.exclusive_lock) TRY(lock(give_up_ns));
    if (options_.create) TRY(make_durable());
    choose_direct();
    TRY(refresh_size());
    return {};
}

Result<void> DeviceFile::check_options() const {
    std::string problem;
    if (options_.create && options_.read_only) {
        problem = "cannot be created read-only";
    } else if (options_.create &&
               (options_.size_bytes == 0 || options_.size_bytes % kSectorBytes != 0 ||
                options_.size_bytes > uint64_t{INT64_MAX})) {
        problem = "cannot be created with " + std::to_string(options_.size_bytes) +
                  " bytes: not a positive multiple of 512";
    } else if (options_.in_flight_max == 0) {
        problem = "0 requests in flight are too few";
    } else if (options_.transfer_bytes_max == 0 ||
               options_.transfer_bytes_max > kTransferBytesMax ||
               options_.transfer_bytes_max % kTransferAlignment != 0) {
        problem = "transfers of " + std::to_string(options_.transfer_bytes_max) +
                  " bytes are not a multiple of 4096 of at most 1 GiB";
    }
    if (problem.empty()) return {};
    return Error(ErrorCode::invalid_argument, named(path_, problem.c_str()));
}

Result<void> DeviceFile::open_path(uint64_t give_up_ns) {
    struct stat status{};
    const bool found = !options_.create && stat(path_.c_str(), &status) == 0;
    // Before it is opened, because that alone makes some devices act, and is refused with an errno
    // of its own by others.
    if (found) TRY(check_mode(path_, status.st_mode));
    const bool block = found && S_ISBLK(status.st_mode);
    // O_NONBLOCK: a FIFO that took the place meanwhile must not hang us before it is seen.
    int flags = O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (options_.read_only ? O_RDONLY : O_RDWR);
    if (options_.create) flags |= O_CREAT | O_EXCL;
    if (block && options_.exclusive_lock && !options_.read_only) flags |= O_EXCL;
    while (true) {
        file_ = FileDescriptor(::open(path_.c_str(), flags, S_IRUSR | S_IWUSR));
        if (file_.is_open()) break;
        const int code = errno;
        if (code == EINTR) continue;
        if (code != EBUSY) {
            return system_error(
                named(path_, options_.create ? "cannot create it" : "cannot open it"), code);
        }
        if (reactor_.now_ns() >= give_up_ns) {
            return Error(ErrorCode::busy,
                         named(path_, "is mounted or in use by another process (waited ") +
                             std::to_string(options_.lock_wait_ms) +
                             " ms); unmount it, or stop that process, and try again",
                         code);
        }
        std::this_thread::sleep_for(kLockRetry);
    }
    created_ = options_.create;
    return {};
}

Result<void> DeviceFile::check_type() {
    struct stat status{};
    if (fstat(file_.get(), &status) != 0) {
        return system_error(named(path_, "cannot look at it"), errno);
    }
    block_device_ = S_ISBLK(status.st_mode);
    return check_mode(path_, status.st_mode);
}

Result<void> DeviceFile::lock(uint64_t give_up_ns) {
    while (true) {
        struct flock range{};
        range.l_type = options_.read_only ? F_RDLCK : F_WRLCK;
        range.l_whence = SEEK_SET;
        if (fcntl(file_.get(), F_OFD_SETLK, &range) == 0) return {};
        const int code = errno;
        if (code == EINTR) continue;
        if (code != EAGAIN && code != EACCES) {
            return system_error(named(path_, "cannot lock it"), code);
        }
        if (reactor_.now_ns() >= give_up_ns) {
            return Error(ErrorCode::busy,
                         named(path_, "is in use by another process (waited ") +
                             std::to_string(options_.lock_wait_ms) +
                             " ms); stop that process and try again",
                         code);
        }
        std::this_thread::sleep_for(kLockRetry);
    }
}

Result<void> DeviceFile::make_durable() {
    if (ftruncate(file_.get(), static_cast<off_t>(options_.size_bytes)) != 0) {
        return system_error("device " + path_ + ": cannot size it to " +
                                std::to_string(options_.size_bytes) + " bytes",
                            errno);
    }
    if (fsync(file_.get()) != 0) return system_error(named(path_, "cannot flush it"), errno);
    const std::string parent = directory_of(path_);
    const FileDescriptor directory(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory.is_open() || fsync(directory.get()) != 0) {
        return system_error(named(path_, "cannot flush its directory"), errno);
    }
    return {};
}

// Sets what O_DIRECT in open(2) would, on the same description: a refused open(2) could already
// have created the file.
void DeviceFile::choose_direct() {
    const int access = options_.read_only ? O_RDONLY : O_RDWR;
    direct_ = options_.direct && fcntl(file_.get(), F_SETFL, access | O_DIRECT) == 0;
    if (!direct_) static_cast<void>(fcntl(file_.get(), F_SETFL, access));  // no O_NONBLOCK
}

Result<uint64_t> DeviceFile::refresh_size() {
    uint64_t found_bytes = 0;
    if (block_device_) {
        if (ioctl(file_.get(), BLKGETSIZE64, &found_bytes) != 0) {
            return system_error(named(path_, "cannot ask for its size"), errno);
        }
    } else {
        struct stat status{};
        if (fstat(file_.get(), &status) != 0) {
            return system_error(named(path_, "cannot ask for its size"), errno);
        }
        found_bytes = static_cast<uint64_t>(status.st_size);
    }
    size_bytes_ = found_bytes / kSectorBytes * kSectorBytes;
    return size_bytes_;
}

}  // namespace stoa::io
