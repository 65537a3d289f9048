#include "controlplane/access/permissions.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/utf8.h"
#include "base/uuid.h"

namespace stoa::access {

namespace {

constexpr std::string_view kAdministrator = "administrator";
constexpr size_t kPatternBytesMax = 64;

bool is_word(std::string_view text) {
    const auto fits = [](char c) { return (c >= 'a' && c <= 'z') || c == '-'; };
    return !text.empty() && std::ranges::all_of(text, fits);
}

}  // namespace

bool is_into_guest(std::string_view permission) {
    static constexpr std::array<std::string_view, 3> kIntoGuest = {"vm.exec", "vm.file",
                                                                   "vm.console"};
    return std::ranges::find(kIntoGuest, permission) != kIntoGuest.end();
}

bool matches(std::string_view pattern, std::string_view permission) {
    if (pattern == permission) return true;
    const size_t dot = pattern.find('.');
    const size_t at = permission.find('.');
    if (dot == std::string_view::npos || at == std::string_view::npos) return false;
    if (is_into_guest(permission)) return false;
    const auto part = [](std::string_view wanted, std::string_view given) {
        return wanted == "*" || wanted == given;
    };
    return part(pattern.substr(0, dot), permission.substr(0, at)) &&
           part(pattern.substr(dot + 1), permission.substr(at + 1));
}

bool holds(std::string_view path, std::string_view resource) {
    if (path == "/" || path == resource) return true;
    return resource.starts_with(path) && resource.size() > path.size() &&
           resource[path.size()] == '/';
}

Result<void> check_pattern(std::string_view pattern) {
    const size_t dot = pattern.find('.');
    const auto part = [](std::string_view text) { return text == "*" || is_word(text); };
    if (pattern.size() > kPatternBytesMax || dot == std::string_view::npos ||
        !part(pattern.substr(0, dot)) || !part(pattern.substr(dot + 1))) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("permission \"{}\": must be KIND.VERB, such as vm.start, vm.* or "
                                 "*.read",
                                 to_plain_text(pattern)));
    }
    return {};
}

Result<void> check_path(std::string_view path) {
    if (path == "/") return {};
    std::string_view rest = path;
    bool fits = rest.starts_with('/');
    if (fits) rest.remove_prefix(1);
    const size_t slash = rest.find('/');
    fits = fits && is_word(rest.substr(0, slash)) &&
           (slash == std::string_view::npos || Uuid::parse(rest.substr(slash + 1)).ok());
    if (!fits) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("path \"{}\": must be /, /KIND or /KIND/ID, such as /vm",
                                 to_plain_text(path)));
    }
    return {};
}

const Roles& built_in_roles() {
    static const Roles kRoles = [] {
        std::vector<std::string> viewer;
        for (const char* kind : {"host", "pool", "volume", "snapshot", "image", "vm", "network",
                                 "task", "event", "metrics", "info"}) {
            viewer.push_back(fmt::format("{}.read", kind));
        }
        std::vector<std::string> operating = viewer;
        operating.insert(operating.end(),
                         {"vm.*", "volume.*", "snapshot.*", "image.*", "task.cancel"});
        return Roles{{"viewer", viewer},
                     {"operator", operating},
                     {std::string(kAdministrator), {"*.*", "vm.exec", "vm.file", "vm.console"}}};
    }();
    return kRoles;
}

bool allows(std::span<const model::Grant> grants, const Roles& roles, std::string_view permission,
            std::string_view resource) {
    return std::ranges::any_of(grants, [&](const model::Grant& grant) {
        const auto role = roles.find(grant.role);
        if (role == roles.end() || !holds(grant.path, resource)) return false;
        return std::ranges::any_of(
            role->second, [&](const std::string& pattern) { return matches(pattern, permission); });
    });
}

bool is_administrator(std::span<const model::Grant> grants) {
    return std::ranges::any_of(grants, [](const model::Grant& grant) {
        return grant.role == kAdministrator && grant.path == "/";
    });
}

}  // namespace stoa::access
