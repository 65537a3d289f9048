#include "controlplane/image/modules.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

namespace stoa::image {

namespace {

constexpr std::string_view kNeeds = "depends=";

// "virtio-rng" and "virtio_rng" are the same module.
std::string underscored(std::string_view name) {
    std::string text(name);
    std::ranges::replace(text, '-', '_');
    return text;
}

// Depth first: what is needed comes before who needs it.
struct Walk {
    const std::map<std::string, std::vector<std::string>>& needs;
    std::vector<std::string> order;
    std::set<std::string> done;
    std::set<std::string> open;  // on the way from the start to here

    // NOLINTNEXTLINE(misc-no-recursion): as deep as modules need each other; circles are found.
    Result<void> visit(const std::string& module) {
        if (done.contains(module)) return {};
        const auto found = needs.find(module);
        if (found == needs.end()) return {};  // built in
        if (!open.insert(module).second) {
            return Error(ErrorCode::corrupt, fmt::format("module {} needs itself", module));
        }
        for (const std::string& needed : found->second) TRY(visit(needed));
        open.erase(module);
        done.insert(module);
        order.push_back(module);
        return {};
    }
};

}  // namespace

std::string module_name(std::string_view path) {
    const size_t slash = path.rfind('/');
    if (slash != std::string_view::npos) path.remove_prefix(slash + 1);
    return underscored(path.substr(0, path.find(".ko")));
}

Result<std::vector<std::string>> module_needs(std::string_view module_file) {
    // Entries of .modinfo end with a zero byte, and each begins after one.
    std::string marker(1, '\0');
    marker += kNeeds;
    const size_t at = module_file.find(marker);
    if (at == std::string_view::npos) {
        return Error(ErrorCode::corrupt, "a kernel module does not say which others it needs");
    }
    std::string_view list = module_file.substr(at + marker.size());
    list = list.substr(0, list.find('\0'));
    std::vector<std::string> names;
    while (!list.empty()) {
        const size_t comma = list.find(',');
        names.push_back(underscored(list.substr(0, comma)));
        if (comma == std::string_view::npos) break;
        list.remove_prefix(comma + 1);
    }
    return names;
}

Result<std::vector<std::string>> load_order(
    const std::vector<std::string>& wanted,
    const std::map<std::string, std::vector<std::string>>& needs) {
    Walk walk{.needs = needs, .order = {}, .done = {}, .open = {}};
    for (const std::string& module : wanted) TRY(walk.visit(underscored(module)));
    return std::move(walk.order);
}

}  // namespace stoa::image
