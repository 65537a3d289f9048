// Locks of files, and who holds one, for messages. Test: files_test.cc.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "controlplane/host/files.h"
#include "controlplane/host/process.h"

namespace stoa::host {

namespace {

constexpr size_t kProcFileBytesMax = size_t{64} << 10;
constexpr size_t kCommandBytesMax = 200;

// The kernel lists the locks of an open file description with each descriptor of it.
bool holds(const std::string& process, const struct stat& wanted) {
    const auto descriptors = list_directory(process + "/fd");
    if (!descriptors.ok()) return false;  // it ended, or belongs to somebody else
    for (const std::string& descriptor : *descriptors) {
        struct stat open{};
        std::string path = process;
        path += "/fd/";
        path += descriptor;
        if (::stat(path.c_str(), &open) != 0) continue;
        if (open.st_dev != wanted.st_dev || open.st_ino != wanted.st_ino) continue;
        path = process;
        path += "/fdinfo/";
        path += descriptor;
        const auto known = read_file(path, kProcFileBytesMax);
        if (known.ok() && known->contains("\nlock:")) return true;
    }
    return false;
}

std::string holder_of(const std::string& path) {
    struct stat wanted{};
    const auto processes = list_directory("/proc");
    if (::stat(path.c_str(), &wanted) != 0 || !processes.ok()) return "another process";
    for (const std::string& name : *processes) {
        if (name.find_first_not_of("0123456789") != std::string::npos) continue;
        if (!holds("/proc/" + name, wanted)) continue;
        std::string command = command_line(std::stoi(name));
        if (command.size() > kCommandBytesMax) command.resize(kCommandBytesMax);
        return "process " + name + " (" + command + ")";
    }
    return "another process";
}

}  // namespace

Result<Descriptor> lock_file(const std::string& path) {
    Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file.is_open()) return system_error("file " + path + ": cannot open", errno);
    while (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno == EINTR) continue;
        if (errno != EWOULDBLOCK) return system_error("file " + path + ": cannot lock", errno);
        return Error(ErrorCode::busy, "file " + path + ": is locked by " + holder_of(path));
    }
    return file;
}

}  // namespace stoa::host
