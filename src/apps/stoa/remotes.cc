#include "apps/stoa/remotes.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace stoa::cli {

namespace {

Error failed(const std::string& path, std::string_view what, int number) {
    return {ErrorCode::io, fmt::format("{}: {}: {}", path, what, std::strerror(number)), number};
}

}  // namespace

std::string remotes_path() {
    const auto value = [](const char* name) {
        const char* text = std::getenv(name);
        return std::string(text == nullptr ? "" : text);
    };
    if (!value("STOA_CONFIG").empty()) return value("STOA_CONFIG") + "/remotes.json";
    if (!value("XDG_CONFIG_HOME").empty()) return value("XDG_CONFIG_HOME") + "/stoa/remotes.json";
    return value("HOME") + "/.config/stoa/remotes.json";
}

Result<Remotes> load_remotes() {
    const std::string path = remotes_path();
    Remotes remotes;
    struct stat facts{};
    if (::stat(path.c_str(), &facts) != 0) {
        if (errno == ENOENT || errno == ENOTDIR) return remotes;
        return failed(path, "cannot be read", errno);
    }
    if ((facts.st_mode & 077U) != 0 || facts.st_uid != ::geteuid()) {
        return Error(
            ErrorCode::denied,
            fmt::format("{}: holds tokens, and others may read or change it: chmod 600 it", path));
    }
    std::ifstream file(path);
    const std::string text(std::istreambuf_iterator<char>(file), {});
    if (!file) return failed(path, "cannot be read", EIO);
    const auto json = parse_json(text);
    const auto read = json.ok() ? from_json(*json, remotes) : Result<void>(json.error());
    if (!read.ok()) {
        return Error(ErrorCode::corrupt, fmt::format("{}: {}", path, read.error().message()));
    }
    return remotes;
}

Result<void> save_remotes(const Remotes& remotes) {
    const std::string path = remotes_path();
    const std::filesystem::path folder = std::filesystem::path(path).parent_path();
    std::error_code error;
    std::filesystem::create_directories(folder.parent_path(), error);
    if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
        return failed(folder, "cannot be made", errno);
    }
    const std::string text = to_pretty_text(to_json(remotes)) + '\n';
    const std::string fresh = fmt::format("{}.{}", path, ::getpid());
    const int file = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0) return failed(fresh, "cannot be made", errno);
    const bool written =
        ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
        ::fsync(file) == 0;
    const int number = errno;
    ::close(file);
    if (!written || ::rename(fresh.c_str(), path.c_str()) != 0) {
        ::unlink(fresh.c_str());
        return failed(path, "cannot be written", written ? errno : number);
    }
    return {};
}

Result<client::Endpoint> find_remote(const std::string& name) {
    TRY_ASSIGN(const Remotes remotes, load_remotes());
    std::string known;
    for (const Remote& remote : remotes.remotes) {
        known += fmt::format("{}{}", known.empty() ? "" : ", ", remote.name);
        if (remote.name != name) continue;
        TRY_ASSIGN(auto endpoint, client::parse_url(remote.url));
        endpoint.certificate = remote.certificate;
        endpoint.token = remote.token;
        return endpoint;
    }
    return Error(ErrorCode::not_found,
                 fmt::format("there is no remote \"{}\"{}; add one with: stoa remote add "
                             "https://HOST",
                             name, known.empty() ? "" : fmt::format(", only {}", known)));
}

}  // namespace stoa::cli
