#include "dataplane/io/lock_holder.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "dataplane/io/small_file.h"

namespace stoa::io {

namespace {

namespace fs = std::filesystem;

constexpr size_t kProcFileBytesMax = size_t{1} << 20;
constexpr size_t kCommandBytesMax = 200;

bool is_same(const struct stat& one, const struct stat& other) {
    return one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

// The kernel lists the locks of an open file description with each descriptor of it.
bool has_lock(const fs::path& process, const std::string& descriptor) {
    const auto known = read_small_file(process / "fdinfo" / descriptor, kProcFileBytesMax);
    return known.ok() && known->contains("\nlock:");
}

bool holds(const fs::path& process, const struct stat& wanted) {
    std::error_code gone;  // processes end, and those of others are closed to us
    for (fs::directory_iterator each(process / "fd", gone), end; !gone && each != end;
         each.increment(gone)) {
        struct stat open{};
        const bool same = ::stat(each->path().c_str(), &open) == 0 && is_same(open, wanted);
        if (same && has_lock(process, each->path().filename())) return true;
    }
    return false;
}

std::string command_of(const fs::path& process) {
    auto line = read_small_file(process / "cmdline", kProcFileBytesMax);
    if (!line.ok() || line->empty()) return "of unknown name";
    std::ranges::replace(*line, '\0', ' ');
    line->resize(std::min(line->find_last_not_of(' ') + 1, kCommandBytesMax));
    return *line;
}

}  // namespace

std::optional<std::string> lock_holder(const std::string& path) {
    struct stat wanted{};
    std::error_code gone;
    if (::stat(path.c_str(), &wanted) != 0) return std::nullopt;
    for (fs::directory_iterator each("/proc", gone), end; !gone && each != end;
         each.increment(gone)) {
        const std::string name = each->path().filename();
        const bool is_process = name.find_first_not_of("0123456789") == std::string::npos;
        if (!is_process || !holds(each->path(), wanted)) continue;
        return fmt::format("process {} ({})", name, command_of(each->path()));
    }
    return std::nullopt;
}

}  // namespace stoa::io
