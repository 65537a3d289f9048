// Removing directories that may belong to a guest's user: every step is relative to a descriptor,
// so that no symbolic link put in meanwhile leads root elsewhere. Test: files_test.cc.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "controlplane/host/files.h"

namespace stoa::host {

namespace {

constexpr int kDepthMax = 64;

Result<void> empty_directory(Descriptor directory, const std::string& path, dev_t device,
                             int depth);

Result<void> remove_entry(int parent, const std::string& name, const std::string& path,
                          dev_t device, int depth) {
    if (::unlinkat(parent, name.c_str(), 0) == 0 || errno == ENOENT) return {};
    if (errno != EISDIR && errno != EPERM) {
        return system_error("file " + path + ": cannot remove", errno);
    }
    Descriptor directory(
        ::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!directory.is_open()) return system_error("directory " + path + ": cannot open", errno);
    struct stat there{};
    if (::fstat(directory.get(), &there) != 0) {
        return system_error("directory " + path + ": cannot look at", errno);
    }
    if (there.st_dev != device) {
        return Error(ErrorCode::in_use,
                     "directory " + path + ": another file system is mounted there; unmount it");
    }
    TRY(empty_directory(std::move(directory), path, device, depth + 1));
    if (::unlinkat(parent, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return {};
    return system_error("directory " + path + ": cannot remove", errno);
}

Result<void> empty_directory(Descriptor directory, const std::string& path, dev_t device,
                             int depth) {
    if (depth > kDepthMax) {
        return Error(ErrorCode::out_of_range, "directory " + path + ": is nested too deeply");
    }
    const int number = directory.get();
    const std::unique_ptr<DIR, int (*)(DIR*)> entries(::fdopendir(number), ::closedir);
    if (!entries) return system_error("directory " + path + ": cannot read", errno);
    static_cast<void>(directory.release());  // closedir() closes it
    while (true) {
        errno = 0;
        const dirent* entry = ::readdir(entries.get());
        if (entry == nullptr && errno != 0) {
            return system_error("directory " + path + ": cannot read", errno);
        }
        if (entry == nullptr) return {};
        const std::string name = static_cast<const char*>(entry->d_name);
        if (name == "." || name == "..") continue;
        std::string below = path;
        below += '/';
        below += name;
        TRY(remove_entry(number, name, below, device, depth));
    }
}

}  // namespace

Result<void> remove_tree(const std::string& path) {
    Descriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!directory.is_open() && (errno == ENOTDIR || errno == ELOOP)) return remove_file(path);
    if (!directory.is_open() && errno == ENOENT) return {};
    struct stat there{};
    if (!directory.is_open() || ::fstat(directory.get(), &there) != 0) {
        return system_error("directory " + path + ": cannot open", errno);
    }
    TRY(empty_directory(std::move(directory), path, there.st_dev, 0));
    if (::rmdir(path.c_str()) == 0 || errno == ENOENT) return {};
    return system_error("directory " + path + ": cannot remove", errno);
}

}  // namespace stoa::host
