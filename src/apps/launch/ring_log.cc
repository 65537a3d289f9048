#include "apps/launch/ring_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

namespace stoa::apps::launch {

RingLog::RingLog(std::string path, uint64_t bytes_max)
    : path_(std::move(path)), half_bytes_(bytes_max / 2) {}

RingLog::~RingLog() {
    if (file_ >= 0) ::close(file_);
}

bool RingLog::open() {
    file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct stat there{};
    if (file_ < 0 || ::fstat(file_, &there) != 0) return false;
    used_bytes_ = static_cast<uint64_t>(there.st_size);
    return true;
}

void RingLog::turn() {
    if (file_ >= 0) ::close(file_);
    // If this fails, the file is emptied all the same: the limit comes first.
    static_cast<void>(std::rename(path_.c_str(), (path_ + ".1").c_str()));
    file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW,
                   0600);
    used_bytes_ = 0;
}

void RingLog::write(std::string_view text) {
    while (!text.empty()) {
        if (used_bytes_ >= half_bytes_ || file_ < 0) turn();
        const size_t piece = std::min<uint64_t>(text.size(), half_bytes_ - used_bytes_);
        const ssize_t written = ::write(file_, text.data(), piece);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return;
        used_bytes_ += static_cast<uint64_t>(written);
        text.remove_prefix(static_cast<size_t>(written));
    }
}

}  // namespace stoa::apps::launch
