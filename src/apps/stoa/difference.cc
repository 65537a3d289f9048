#include "apps/stoa/difference.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "apps/stoa/body.h"
#include "apps/stoa/units.h"
#include "base/utf8.h"

namespace stoa::cli {

namespace {

// What is no field of a specification.
constexpr std::array<std::string_view, 8> kNotWanted{"kind",   "id",   "created_ns", "revision",
                                                     "status", "live", "progress",   "spec"};
// Set by verbs of their own.
constexpr std::array<std::string_view, 3> kNotSet{"power", "image", "start"};

std::string shown(std::string_view field, const Json& value) {
    const Json holder = JsonObject{{"n", value}};
    if (field.find("_bytes") != std::string_view::npos && (value.is_int64() || value.is_uint64())) {
        return format_size(static_cast<uint64_t>(number_at(holder, "n")));
    }
    return to_plain_text(value.is_string() ? std::string(value.get_string()) : to_text(value));
}

// 5 and 5, however they are kept.
bool same(const Json& a, const Json& b) { return to_text(a) == to_text(b); }

// Whether all that `wanted` says is so in `have`; what it does not say stays.
bool contains(const Json& have, const Json& wanted) {
    if (!wanted.is_object() || !have.is_object()) return same(have, wanted);
    return std::ranges::all_of(wanted.get_object(), [&](const auto& member) {
        const Json* found = have.get_object().if_contains(member.key());
        return found != nullptr && contains(*found, member.value());
    });
}

Json merged(const Json& have, const Json& wanted) {
    if (!wanted.is_object() || !have.is_object()) return wanted;
    JsonObject all = have.get_object();
    for (const auto& member : wanted.get_object()) {
        Json& into = all[member.key()];
        into = merged(into, member.value());
    }
    return all;
}

const Json* named(const JsonArray& items, std::string_view name) {
    const auto found = std::ranges::find_if(
        items, [&](const Json& item) { return text_at(item, "name") == name; });
    return found == items.end() ? nullptr : &*found;
}

const JsonArray& array_of(const Json* value) {
    static const JsonArray kNone;
    return value != nullptr && value->is_array() ? value->get_array() : kNone;
}

uint64_t size_of_disk(const Json& disk, const JsonArray& volumes) {
    const std::string id = text_at(disk, "volume");
    for (const Json& volume : volumes) {
        if (text_at(volume, "id") == id) {
            return static_cast<uint64_t>(number_at(volume, "spec.size_bytes"));
        }
    }
    return 0;
}

// Disks and NICs of a VM are added, removed and grown by name. `is_whole`: `wanted` is all that it
// is to have; a request to create does not name the disk of the image.
void compare_parts(std::string_view field, const Json* have, const Json& wanted, bool is_whole,
                   const JsonArray& volumes, Difference& difference) {
    const std::string one(field.substr(0, field.size() - 1));
    JsonArray added;
    JsonArray removed;
    for (const Json& part : array_of(&wanted)) {
        const std::string name = text_at(part, "name");
        const Json* found = named(array_of(have), name);
        if (found == nullptr) {
            // One without a name cannot be told from those that are there.
            if (name.empty() && !array_of(have).empty()) continue;
            added.push_back(part);
            difference.lines.push_back(fmt::format("{} {} added", one, to_plain_text(name)));
            continue;
        }
        const auto size = static_cast<uint64_t>(number_at(part, "size_bytes"));
        const uint64_t is_now = size_of_disk(*found, volumes);
        if (size > is_now && is_now > 0) {
            put_field(
                difference.patch, "grow_disks",
                merged(difference.patch.contains("grow_disks") ? difference.patch["grow_disks"]
                                                               : Json(JsonObject()),
                       Json(JsonObject{{name, size}})));
            difference.lines.push_back(fmt::format("{} {}: {} -> {}", one, to_plain_text(name),
                                                   format_size(is_now), format_size(size)));
        }
    }
    for (const Json& part : array_of(have)) {
        const std::string name = text_at(part, "name");
        if (!is_whole || named(array_of(&wanted), name) != nullptr) continue;
        removed.push_back(Json(name));
        difference.lines.push_back(fmt::format("{} {} removed", one, to_plain_text(name)));
    }
    if (!added.empty()) difference.patch[fmt::format("add_{}", field)] = std::move(added);
    if (!removed.empty()) difference.patch[fmt::format("remove_{}", field)] = std::move(removed);
}

void compare_forwards(const Json* have, const Json& wanted, Difference& difference) {
    const auto lacks = [](const JsonArray& items, const Json& one) {
        return std::ranges::none_of(items, [&](const Json& item) {
            return text_at(item, "host_port") == text_at(one, "host_port") &&
                   text_at(item, "guest_port") == text_at(one, "guest_port");
        });
    };
    JsonArray added;
    JsonArray removed;
    for (const Json& one : array_of(&wanted)) {
        if (lacks(array_of(have), one)) added.push_back(one);
    }
    for (const Json& one : array_of(have)) {
        if (lacks(array_of(&wanted), one)) removed.push_back(one);
    }
    for (const auto& [list, word] : {std::pair(&added, "added"), std::pair(&removed, "removed")}) {
        for (const Json& one : *list) {
            difference.lines.push_back(
                fmt::format("forward of port {} {}", text_at(one, "host_port"), word));
        }
    }
    if (!added.empty()) difference.patch["add_forwards"] = std::move(added);
    if (!removed.empty()) difference.patch["remove_forwards"] = std::move(removed);
}

}  // namespace

JsonObject flatten(const JsonObject& document) {
    JsonObject flat;
    for (const auto& member : document) {
        if (std::ranges::find(kNotWanted, std::string_view(member.key())) == kNotWanted.end()) {
            flat[member.key()] = member.value();
        }
    }
    const Json* spec = document.if_contains("spec");
    if (spec == nullptr || !spec->is_object()) return flat;
    for (const auto& member : spec->get_object()) flat[member.key()] = member.value();
    return flat;
}

Difference difference(std::string_view noun, const Json& record, const JsonObject& wanted,
                      const JsonArray& volumes) {
    Difference result;
    const bool is_whole = wanted.contains("spec");
    const JsonObject flat = flatten(wanted);
    for (const auto& member : flat) {
        const std::string_view field = member.key();
        const Json& value = member.value();
        if (std::ranges::find(kNotSet, field) != kNotSet.end()) continue;
        const bool is_own = field == "name" || field == "labels";
        const Json* have =
            find_field(record, is_own ? std::string(field) : fmt::format("spec.{}", field));
        if (have == nullptr && !is_own) continue;
        if (noun == "vm" && (field == "disks" || field == "nics")) {
            compare_parts(field, have, value, is_whole, volumes, result);
            continue;
        }
        if (noun == "network" && field == "forwards") {
            compare_forwards(have, value, result);
            continue;
        }
        const bool is_same = field == "labels" ? have != nullptr && same(*have, value)
                                               : have != nullptr && contains(*have, value);
        // References are kept as ids, and a document may say names: those only count when made.
        const bool is_reference = have != nullptr && have->is_string() &&
                                  have->get_string().size() == 36 && value.is_string() &&
                                  value.get_string().size() != 36;
        if (is_same || is_reference) continue;
        result.patch[field] = have != nullptr && field != "labels" ? merged(*have, value) : value;
        result.lines.push_back(fmt::format("{}: {} -> {}", to_plain_text(field),
                                           have == nullptr ? "none" : shown(field, *have),
                                           shown(field, value)));
    }
    return result;
}

}  // namespace stoa::cli
