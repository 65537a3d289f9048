#include "apps/launch/proc.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <string_view>
#include <utility>

#include "controlplane/host/launch/process_stat.h"

namespace stoa::apps::launch {

namespace {

// Files of /proc that one read gives whole.
std::string read_proc(const std::string& path) {
    std::array<char, 4096> text{};
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    const ssize_t got = file < 0 ? -1 : ::read(file, text.data(), text.size());
    if (file >= 0) ::close(file);
    return got < 0 ? "" : std::string(text.data(), static_cast<size_t>(got));
}

int write_whole(int file, std::string_view text) {
    while (!text.empty()) {
        const ssize_t written = ::write(file, text.data(), text.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return errno;
        text.remove_prefix(static_cast<size_t>(written));
    }
    return 0;
}

}  // namespace

std::optional<host::ProcessIdentity> identify(pid_t pid) {
    const auto stat = host::parse_process_stat(read_proc("/proc/" + std::to_string(pid) + "/stat"));
    std::string boot = read_proc("/proc/sys/kernel/random/boot_id");
    boot = boot.substr(0, boot.find('\n'));
    if (!stat.ok() || boot.empty()) return std::nullopt;
    return host::ProcessIdentity{
        .pid = pid, .start_ticks = stat->start_ticks, .boot_id = std::move(boot)};
}

int write_status(const std::string& path, const host::ProcessStatus& status) {
    if (path.empty()) return 0;
    const std::string fresh = path + ".new";
    ::unlink(fresh.c_str());
    const int file =
        ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0) return errno;
    int error = write_whole(file, to_text(to_json(status)) + "\n");
    ::close(file);
    if (error == 0 && std::rename(fresh.c_str(), path.c_str()) != 0) error = errno;
    if (error != 0) ::unlink(fresh.c_str());
    return error;
}

}  // namespace stoa::apps::launch
