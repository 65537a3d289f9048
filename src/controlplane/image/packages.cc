#include "controlplane/image/packages.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "controlplane/host/command.h"
#include "controlplane/host/files.h"

namespace stoa::image {

namespace {

constexpr std::string_view kKernelMeta = "linux-image-cloud-amd64";
constexpr std::chrono::milliseconds kDownloadLimit{300'000};
constexpr std::chrono::milliseconds kUnpackLimit{120'000};
constexpr size_t kWordsMax = 500;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// "~" before the end, before letters, before all else.
int rank(char c) {
    if (c == '~') return -1;
    const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return is_letter ? c : c + 256;
}

// One part of a version; below 0: `a` is older.
int compare_part(std::string_view a, std::string_view b) {
    size_t i = 0;
    size_t j = 0;
    while (i < a.size() || j < b.size()) {
        const auto is_text = [](std::string_view text, size_t at) {
            return at < text.size() && !is_digit(text[at]);
        };
        while (is_text(a, i) || is_text(b, j)) {
            const int left = is_text(a, i) ? rank(a[i]) : 0;
            const int right = is_text(b, j) ? rank(b[j]) : 0;
            if (left != right) return left - right;
            ++i;
            ++j;
        }
        const auto number = [](std::string_view text, size_t& at) {
            const size_t start = std::min(text.find_first_not_of('0', at), text.size());
            at = start;
            while (at < text.size() && is_digit(text[at])) ++at;
            return text.substr(start, at - start);
        };
        const std::string_view left = number(a, i);
        const std::string_view right = number(b, j);
        if (left.size() != right.size()) return left.size() < right.size() ? -1 : 1;
        if (left != right) return left < right ? -1 : 1;
    }
    return 0;
}

struct Version {
    std::string_view epoch = "0";
    std::string_view upstream;
    std::string_view revision;
};

Version split(std::string_view text) {
    Version version;
    const size_t colon = text.find(':');
    if (colon != std::string_view::npos) {
        version.epoch = text.substr(0, colon);
        text.remove_prefix(colon + 1);
    }
    const size_t minus = text.rfind('-');
    version.upstream = text.substr(0, minus);
    if (minus != std::string_view::npos) version.revision = text.substr(minus + 1);
    return version;
}

// apt writes the colon of an epoch as "%3a".
std::string version_of(std::string_view file) {
    std::string_view text = file.substr(file.find('_') + 1);
    text = text.substr(0, text.find('_'));
    std::string version(text);
    const size_t colon = version.find("%3a");
    if (colon != std::string::npos) version.replace(colon, 3, ":");
    return version;
}

bool is_file_of(std::string_view package, std::string_view file) {
    if (!file.ends_with(".deb") || std::ranges::count(file, '_') != 2) return false;
    const std::string_view name = file.substr(0, file.find('_'));
    if (!package.ends_with('*')) return name == package;
    // linux-image-* is any linux-image-6.1.0-56-cloud-amd64.
    package.remove_suffix(1);
    return name.size() > package.size() && name.starts_with(package) &&
           is_digit(name[package.size()]) && name.ends_with("-cloud-amd64");
}

// What `linux-image-cloud-amd64` stands for, by apt's lists.
Async<std::string> kernel_package() {
    host::CommandSpec spec;
    spec.program = "apt-cache";
    spec.arguments = {"depends", "--important", std::string(kKernelMeta)};
    const auto text = co_await host::run_successfully(std::move(spec));
    if (!text.ok()) co_return text.error();
    constexpr std::string_view kMark = "Depends: linux-image-";
    const size_t at = text->find(kMark);
    if (at == std::string::npos) {
        co_return Error(ErrorCode::not_found,
                        fmt::format("apt-cache knows no kernel of {}", kKernelMeta));
    }
    const std::string_view name = std::string_view(*text).substr(at + kMark.size() - 12);
    co_return std::string(name.substr(0, name.find_first_of(" \n")));
}

Error missing(const std::vector<std::string>& packages, std::string_view directory,
              std::string_view why) {
    std::string names;
    for (const std::string& package : packages) names += (names.empty() ? "" : ", ") + package;
    return {ErrorCode::not_found,
            fmt::format("packages {}: {}; run \"apt-get update\", or put their .deb files into {}",
                        names, why, directory)};
}

Async<> download(std::vector<std::string> packages, std::string directory) {
    for (std::string& package : packages) {
        if (!package.ends_with('*')) continue;
        auto kernel = co_await kernel_package();
        if (!kernel.ok()) co_return missing(packages, directory, kernel.error().message());
        package = *std::move(kernel);
    }
    host::CommandSpec spec;
    spec.program = "env";
    spec.arguments = {"-C", directory, "apt-get", "-q", "download"};
    spec.arguments.insert(spec.arguments.end(), packages.begin(), packages.end());
    spec.limit = kDownloadLimit;
    const auto done = co_await host::run_successfully(std::move(spec));
    if (done.ok()) co_return Result<void>();
    const bool is_interrupted =
        done.error().code() == ErrorCode::cancelled || done.error().code() == ErrorCode::timeout;
    if (is_interrupted) co_return done.error();
    co_return missing(packages, directory, done.error().message().substr(0, kWordsMax));
}

}  // namespace

bool is_older(std::string_view a, std::string_view b) {
    const Version left = split(a);
    const Version right = split(b);
    int order = compare_part(left.epoch, right.epoch);
    if (order == 0) order = compare_part(left.upstream, right.upstream);
    if (order == 0) order = compare_part(left.revision, right.revision);
    return order < 0;
}

std::string newest_file(std::string_view package, const std::vector<std::string>& files) {
    std::string newest;
    for (const std::string& file : files) {
        if (!is_file_of(package, file)) continue;
        if (newest.empty() || is_older(version_of(newest), version_of(file))) newest = file;
    }
    return newest;
}

Async<std::vector<std::string>> fetch_packages(std::vector<std::string> packages,
                                               std::string directory, bool may_download) {
    CO_TRY(host::make_directories(directory, 0755));
    CO_TRY_ASSIGN(std::vector<std::string> files, host::list_directory(directory));
    std::vector<std::string> absent;
    for (const std::string& package : packages) {
        if (newest_file(package, files).empty()) absent.push_back(package);
    }
    if (!absent.empty()) {
        if (!may_download) co_return missing(absent, directory, "are not there");
        CO_TRY(co_await download(absent, directory));
        CO_TRY_ASSIGN(files, host::list_directory(directory));
    }
    std::vector<std::string> paths;
    for (const std::string& package : packages) {
        const std::string file = newest_file(package, files);
        if (file.empty()) co_return missing({package}, directory, "was not downloaded");
        paths.push_back(directory + "/" + file);
    }
    co_return paths;
}

Async<> unpack(std::string file, std::string directory) {
    host::CommandSpec spec;
    spec.program = "dpkg-deb";
    spec.arguments = {"-x", file, directory};
    spec.limit = kUnpackLimit;
    CO_TRY_ASSIGN(const host::CommandResult result, co_await host::run_command(std::move(spec)));
    if (result.code == 0) co_return Result<void>();
    if (result.error_output.contains("No space left")) {
        co_return Error(ErrorCode::no_space, fmt::format("{}: no space left", directory));
    }
    co_return Error(ErrorCode::corrupt,
                    fmt::format("{} cannot be unpacked; remove it, and it is downloaded again: {}",
                                file, result.error_output.substr(0, kWordsMax)));
}

}  // namespace stoa::image
