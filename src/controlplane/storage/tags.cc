#include "controlplane/storage/tags.h"

#include <array>

#include <fmt/format.h>

#include "base/uuid.h"
#include "controlplane/storage/plan_parts.h"

namespace stoa::storage {

namespace {

struct Owner {
    std::string_view label;
    std::string_view word;
};
constexpr std::array kOwners = {Owner{kVmLabel, "vm"}, Owner{kImageLabel, "image"}};

}  // namespace

std::string tags_of(const model::Labels& labels) {
    std::string tags;
    for (const Owner& owner : kOwners) {
        const auto at = labels.find(std::string(owner.label));
        if (at == labels.end()) continue;
        const Result<Uuid> id = Uuid::parse(at->second);
        if (!id.ok()) continue;
        tags += fmt::format("{}{}={}", tags.empty() ? "" : " ", owner.word, id->to_string());
    }
    return tags;
}

model::Labels labels_of(std::string_view tags) {
    model::Labels labels;
    while (!tags.empty()) {
        const size_t space = tags.find(' ');
        const std::string_view one = tags.substr(0, space);
        tags.remove_prefix(space == std::string_view::npos ? tags.size() : space + 1);
        const size_t equals = one.find('=');
        if (equals == std::string_view::npos) continue;
        const Result<Uuid> id = Uuid::parse(one.substr(equals + 1));
        if (!id.ok()) continue;
        for (const Owner& owner : kOwners) {
            if (owner.word == one.substr(0, equals)) {
                labels[std::string(owner.label)] = id->to_string();
            }
        }
    }
    return labels;
}

}  // namespace stoa::storage
