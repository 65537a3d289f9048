#include "controlplane/host/cgroup_places.h"

#include <algorithm>
#include <map>

namespace stoa::host {

namespace {

constexpr size_t kFieldRoot = 3;
constexpr size_t kFieldMount = 4;

// Octal escapes of mountinfo: "\040" is a space.
std::string unescape(std::string_view text) {
    std::string plain;
    for (size_t i = 0; i < text.size(); ++i) {
        const std::string_view digits = text.substr(i).substr(0, 4);
        const bool is_escape = digits.size() == 4 && digits[0] == '\\' &&
                               digits.find_first_not_of("01234567", 1) == std::string_view::npos;
        if (!is_escape) {
            plain += text[i];
            continue;
        }
        plain +=
            static_cast<char>((digits[1] - '0') * 64 + (digits[2] - '0') * 8 + digits[3] - '0');
        i += 3;
    }
    return plain;
}

// The groups of this process: path by controller, "" for v2.
std::map<std::string, std::string, std::less<>> read_own(std::string_view text) {
    std::map<std::string, std::string, std::less<>> paths;
    for (const std::string_view line : split(text, "\n")) {
        const size_t first = line.find(':');
        const size_t second = line.find(':', first + 1);
        if (first == std::string_view::npos || second == std::string_view::npos) continue;
        const std::string_view names = line.substr(first + 1, second - first - 1);
        const std::string path(line.substr(second + 1));
        if (names.empty()) paths[""] = path;
        for (const std::string_view name : split(names, ",")) paths[std::string(name)] = path;
    }
    return paths;
}

// Seen from a mount whose root is `root` in the hierarchy.
std::string place_in(const std::string& mount, const std::string& root, std::string_view path) {
    if (path.contains("/..")) return mount;  // outside of our namespace
    if (root != "/") {
        if (!path.starts_with(root)) return mount;
        path.remove_prefix(root.size());
    }
    while (path.ends_with('/')) path.remove_suffix(1);
    return mount + std::string(path);
}

}  // namespace

std::vector<std::string_view> split(std::string_view text, std::string_view separators) {
    std::vector<std::string_view> words;
    while (!text.empty()) {
        const size_t end = std::min(text.find_first_of(separators), text.size());
        if (end > 0) words.push_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return words;
}

std::vector<Hierarchy> find_hierarchies(std::string_view mounts, std::string_view own) {
    const auto paths = read_own(own);
    std::vector<Hierarchy> found;
    for (const std::string_view line : split(mounts, "\n")) {
        const std::vector<std::string_view> words = split(line, " ");
        const auto dash = std::ranges::find(words, std::string_view("-"));
        if (words.end() - dash < 4 || dash - words.begin() < 6) continue;
        const std::string_view type = dash[1];
        if (type != "cgroup" && type != "cgroup2") continue;
        Hierarchy one{.is_unified = type == "cgroup2",
                      .controllers = {},
                      .mount = unescape(words[kFieldMount]),
                      .own = {}};
        std::string_view key;
        if (!one.is_unified) {
            for (const std::string_view option : split(dash[3], ",")) {
                const auto path = paths.find(option);
                if (path == paths.end()) continue;
                one.controllers.emplace(option);
                key = path->first;
            }
            if (one.controllers.empty()) continue;
        }
        const auto path = paths.find(key);
        if (path == paths.end()) continue;
        one.own = place_in(one.mount, unescape(words[kFieldRoot]), path->second);
        // Mounted twice: the first one counts.
        const bool is_known = std::ranges::any_of(found, [&](const Hierarchy& other) {
            return other.is_unified == one.is_unified && other.controllers == one.controllers;
        });
        if (!is_known) found.push_back(std::move(one));
    }
    return found;
}

}  // namespace stoa::host
