#include "dataplane/io/device_paths.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <filesystem>
#include <map>
#include <system_error>

namespace stoa::io {

namespace {

// The same text for all paths to one thing.
std::string identity(const std::string& path) {
    struct stat status{};
    if (stat(path.c_str(), &status) == 0) {
        if (S_ISBLK(status.st_mode)) return "block " + std::to_string(status.st_rdev);
        return "file " + std::to_string(status.st_dev) + " " + std::to_string(status.st_ino);
    }
    std::error_code error;
    std::filesystem::path full = std::filesystem::absolute(path, error);
    if (error) return "path " + path;
    // A link to what is not there yet is the same place as that.
    constexpr int kLinksMax = 40;
    for (int i = 0; i < kLinksMax && std::filesystem::is_symlink(full, error); ++i) {
        const std::filesystem::path target = std::filesystem::read_symlink(full, error);
        if (error) break;
        full = full.parent_path() / target;
    }
    const std::filesystem::path resolved = std::filesystem::weakly_canonical(full, error);
    return "path " + (error ? full.lexically_normal() : resolved).string();
}

}  // namespace

Result<void> check_distinct(std::span<const std::string> paths) {
    std::map<std::string, const std::string*> seen;
    for (const std::string& path : paths) {
        const auto [first, is_new] = seen.try_emplace(identity(path), &path);
        if (is_new) continue;
        const std::string& other = *first->second;
        const std::string both =
            fmt::format("devices {} and {} are the same: give it once", other, path);
        return Error(ErrorCode::invalid_argument,
                     other == path ? fmt::format("device {} is given twice", path) : both);
    }
    return {};
}

}  // namespace stoa::io
