#include "apps/stoa/columns.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "apps/stoa/body.h"
#include "apps/stoa/units.h"
#include "base/utf8.h"

namespace stoa::cli {

namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;

std::string since(int64_t time_ns) {
    if (time_ns <= 0) return {};
    const int64_t seconds = (now_ns() - time_ns) / kNsPerSecond;
    return format_duration(static_cast<uint64_t>(std::max<int64_t>(seconds, 0)));
}

const JsonArray* array_at(const Json& value, std::string_view path) {
    const Json* found = find_field(value, path);
    return found == nullptr ? nullptr : found->if_array();
}

bool runs(const Json& vm) {
    static constexpr std::array<std::string_view, 5> kUp{"running", "paused", "paused-storage",
                                                         "stopping", "unknown"};
    return std::ranges::find(kUp, text_at(vm, "status.state")) != kUp.end();
}

std::string vm_uptime(Context& /*context*/, const Json& vm) {
    return runs(vm) ? since(number_at(vm, "status.launch.started_ns")) : std::string();
}

std::string vm_used(Context& /*context*/, const Json& vm) {
    const int64_t bytes = number_at(vm, "live.memory_bytes");
    return runs(vm) && bytes > 0 ? format_size(static_cast<uint64_t>(bytes)) : std::string();
}

// Fields alone: what they change from and to is in `show`.
std::string vm_pending(Context& /*context*/, const Json& vm) {
    const JsonArray* pending = array_at(vm, "status.pending");
    std::string text;
    for (size_t i = 0; pending != nullptr && i < pending->size(); ++i) {
        const Json& change = (*pending)[i];
        if (!change.is_string()) continue;
        const std::string whole(change.get_string());
        text += fmt::format("{}{}", text.empty() ? "" : ", ", whole.substr(0, whole.find(':')));
    }
    return to_plain_text(text);
}

std::string task_progress(Context& /*context*/, const Json& task) {
    const JsonArray* steps = array_at(task, "spec.steps");
    if (steps == nullptr || steps->empty()) return {};
    return fmt::format("{}/{}", number_at(task, "status.position"), steps->size());
}

// "vm web1" for "vm/ID".
std::string task_target(Context& context, const Json& task) {
    const std::string target = text_at(task, "spec.target");
    const size_t slash = target.find('/');
    const Noun* noun = find_noun(target.substr(0, slash));
    if (slash == std::string::npos || noun == nullptr) return to_plain_text(target);
    return fmt::format("{} {}", noun->name,
                       context.name_of(noun->plural, target.substr(slash + 1)));
}

std::string task_end(Context& /*context*/, const Json& task) {
    const int64_t begin = number_at(task, "status.started_ns");
    if (begin == 0) return {};
    const int64_t ended = number_at(task, "status.ended_ns");
    const int64_t end = ended == 0 ? now_ns() : ended;
    return format_duration(static_cast<uint64_t>(std::max<int64_t>(end - begin, 0) / kNsPerSecond));
}

std::string grants_of(Context& /*context*/, const Json& record) {
    const JsonArray* grants = array_at(record, "spec.grants");
    std::string text;
    for (size_t i = 0; grants != nullptr && i < grants->size(); ++i) {
        const std::string path = text_at((*grants)[i], "path");
        text += fmt::format("{}{}", text.empty() ? "" : ", ", text_at((*grants)[i], "role"));
        if (!path.empty() && path != "/") text += '@' + path;
    }
    return to_plain_text(text);
}

std::string snapshot_time(Context& /*context*/, const Json& record) {
    const int64_t taken = number_at(record, "status.taken_ns");
    return since(taken > 0 ? taken : number_at(record, "created_ns"));
}

std::string network_subnet(Context& /*context*/, const Json& record) {
    const std::string used = text_at(record, "status.subnet");
    return to_plain_text(used.empty() ? text_at(record, "spec.subnet") : used);
}

std::string expiry_of(Context& /*context*/, const Json& record) {
    const int64_t expires = number_at(record, "spec.expires_ns");
    if (expires == 0) return "never";
    if (expires < now_ns()) return "expired";
    return fmt::format("in {}",
                       format_duration(static_cast<uint64_t>((expires - now_ns()) / kNsPerSecond)));
}

std::string user_state(Context& /*context*/, const Json& record) {
    if (text_at(record, "spec.disabled") == "true") return "disabled";
    return text_at(record, "status.has_password") == "true" ? "active" : "no password";
}

constexpr std::array kVm{
    Column{.title = "NAME", .format = Format::name},
    Column{.title = "STATE", .path = "status.state"},
    Column{.title = "HOST", .format = Format::reference, .path = "status.host", .plural = "hosts"},
    Column{.title = "ADDRESS", .format = Format::made, .make = addresses_of},
    Column{.title = "UPTIME", .format = Format::made, .make = vm_uptime},
    Column{.title = "CPUS", .path = "spec.cpus", .is_number = true},
    Column{
        .title = "MEMORY", .format = Format::size, .path = "spec.memory_bytes", .is_number = true},
    Column{.title = "USED", .format = Format::made, .make = vm_used, .is_number = true},
    Column{.title = "PENDING", .format = Format::made, .make = vm_pending},
};
constexpr std::array kPool{
    Column{.title = "NAME", .format = Format::name},
    Column{.title = "STATE", .path = "status.state"},
    Column{.title = "SIZE", .format = Format::size, .path = "live.size_bytes", .is_number = true},
    Column{.title = "FREE", .format = Format::size, .path = "live.free_bytes", .is_number = true},
    Column{.title = "DEVICES", .format = Format::list, .path = "spec.devices"},
};
constexpr std::array kVolume{
    Column{.title = "NAME", .format = Format::name},
    Column{.title = "STATE", .path = "status.state"},
    Column{.title = "SIZE", .format = Format::size, .path = "spec.size_bytes", .is_number = true},
    Column{
        .title = "FROM", .format = Format::reference, .path = "spec.source", .plural = "snapshots"},
    Column{.title = "PROTECTED", .format = Format::yes, .path = "spec.protected"},
    Column{.title = "AGE", .format = Format::age, .path = "created_ns"},
};
constexpr std::array kSnapshot{
    Column{.title = "NAME", .format = Format::name},
    Column{.title = "STATE", .path = "status.state"},
    Column{.title = "CONSISTENT", .path = "status.consistency"},
    Column{.title = "DISKS", .format = Format::count, .path = "spec.parts", .is_number = true},
    Column{.title = "PROTECTED", .format = Format::yes, .path = "spec.protected"},
    Column{.title = "AGE", .format = Format::made, .make = snapshot_time},
};
constexpr std::array kImage{
    Column{.title = "NAME", .format = Format::name},
    Column{.title = "STATE", .path = "status.state"},
    Column{.title = "OS", .path = "spec.os"},
    Column{.title = "SIZE", .format = Format::size, .path = "spec.size_bytes", .is_number = true},
    Column{.title = "MEMORY MIN",
           .format = Format::size,
           .path = "spec.memory_bytes_min",
           .is_number = true},
    Column{.title = "POOL", .format = Format::reference, .path = "spec.pool", .plural = "pools"},
    Column{.title = "AGE", .format = Format::age, .path = "created_ns"},
};
constexpr std::array kNetwork{
    Column{.title = "NAME", .format = Format::name},
    Column{.title = "MODE", .path = "spec.mode"},
    Column{.title = "UP", .format = Format::yes, .path = "status.up"},
    Column{.title = "SUBNET", .format = Format::made, .make = network_subnet},
    Column{.title = "INTERFACE", .path = "status.interface"},
    Column{
        .title = "ADDRESSES", .format = Format::count, .path = "status.leases", .is_number = true},
    Column{
        .title = "FORWARDS", .format = Format::count, .path = "spec.forwards", .is_number = true},
};
constexpr std::array kTask{
    Column{.title = "ID", .path = "id"},
    Column{.title = "VERB", .path = "spec.verb"},
    Column{.title = "TARGET", .format = Format::made, .make = task_target},
    Column{.title = "STATE", .path = "status.state"},
    Column{.title = "STEPS", .format = Format::made, .make = task_progress, .is_number = true},
    Column{.title = "BEGAN", .format = Format::age, .path = "status.started_ns"},
    Column{.title = "TOOK", .format = Format::made, .make = task_end},
    Column{.title = "ERROR", .path = "status.error"},
};
constexpr std::array kUser{
    Column{.title = "NAME", .format = Format::name},
    Column{.title = "STATE", .format = Format::made, .make = user_state},
    Column{.title = "ROLES", .format = Format::made, .make = grants_of},
    Column{.title = "LAST SEEN", .format = Format::age, .path = "status.seen_ns"},
};
constexpr std::array kRole{
    Column{.title = "NAME", .format = Format::name},
    Column{.title = "BUILT IN", .format = Format::yes, .path = "status.built_in"},
    Column{.title = "PERMISSIONS", .format = Format::list, .path = "spec.permissions"},
};
constexpr std::array kToken{
    Column{.title = "NAME", .format = Format::name},
    Column{.title = "USER", .format = Format::reference, .path = "spec.user", .plural = "users"},
    Column{.title = "ROLES", .format = Format::made, .make = grants_of},
    Column{.title = "EXPIRES", .format = Format::made, .make = expiry_of},
    Column{.title = "LAST SEEN", .format = Format::age, .path = "status.seen_ns"},
};
constexpr std::array kHost{
    Column{.title = "NAME", .format = Format::name},
    Column{.title = "CPUS", .path = "status.cpus", .is_number = true},
    Column{.title = "MEMORY",
           .format = Format::size,
           .path = "status.memory_bytes",
           .is_number = true},
    Column{.title = "GUESTS",
           .format = Format::size,
           .path = "status.guest_memory_bytes",
           .is_number = true},
    Column{.title = "ACCELERATOR", .path = "status.accelerator.name"},
    Column{.title = "VERSION", .path = "status.version"},
    Column{
        .title = "WARNINGS", .format = Format::count, .path = "status.warnings", .is_number = true},
};

std::string joined(const JsonArray* array) {
    std::string text;
    for (size_t i = 0; array != nullptr && i < array->size(); ++i) {
        const Json& item = (*array)[i];
        text += fmt::format("{}{}", text.empty() ? "" : ", ",
                            item.is_string() ? std::string(item.get_string()) : to_text(item));
    }
    return to_plain_text(text);
}

std::string format_cell(Context& context, std::string_view noun, const Column& column,
                        const Json& record) {
    switch (column.format) {
        case Format::text: return to_plain_text(text_at(record, column.path));
        case Format::name: return context.full_name(noun, record);
        case Format::size: {
            const int64_t bytes = number_at(record, column.path);
            return bytes > 0 ? format_size(static_cast<uint64_t>(bytes)) : std::string();
        }
        case Format::age: return since(number_at(record, column.path));
        case Format::time: {
            const int64_t time = number_at(record, column.path);
            return time > 0 ? format_time(time) : std::string();
        }
        case Format::reference: return context.name_of(column.plural, text_at(record, column.path));
        case Format::count: {
            const JsonArray* array = array_at(record, column.path);
            return array == nullptr || array->empty() ? "" : fmt::format("{}", array->size());
        }
        case Format::list: return joined(array_at(record, column.path));
        case Format::yes: return text_at(record, column.path) == "true" ? "yes" : "";
        case Format::made: return column.make(context, record);
    }
    return {};
}

}  // namespace

std::span<const Column> columns_of(std::string_view noun) {
    if (noun == "vm") return kVm;
    if (noun == "pool") return kPool;
    if (noun == "volume") return kVolume;
    if (noun == "snapshot") return kSnapshot;
    if (noun == "image") return kImage;
    if (noun == "network") return kNetwork;
    if (noun == "task") return kTask;
    if (noun == "user") return kUser;
    if (noun == "role") return kRole;
    if (noun == "token") return kToken;
    if (noun == "host") return kHost;
    return {};
}

std::string cell_of(Context& context, std::string_view noun, const Column& column,
                    const Json& record) {
    std::string text = format_cell(context, noun, column, record);
    return text.empty() ? "-" : text;
}

std::string addresses_of(Context& context, const Json& vm) {
    const JsonArray* nics = array_at(vm, "spec.nics");
    if (nics == nullptr || nics->empty()) return {};
    const std::string id = text_at(vm, "id");
    std::string text;
    const auto add = [&text](const std::string& address) {
        if (address.empty() || text.find(address) != std::string::npos) return;
        text += fmt::format("{}{}", text.empty() ? "" : ", ", to_plain_text(address));
    };
    for (const Json& network : context.records("networks")) {
        const JsonArray* leases = array_at(network, "status.leases");
        for (size_t i = 0; leases != nullptr && i < leases->size(); ++i) {
            if (text_at((*leases)[i], "vm") == id) add(text_at((*leases)[i], "address"));
        }
    }
    if (!text.empty()) return text;
    for (const Json& nic : *nics) add(text_at(nic, "address"));
    return text;
}

}  // namespace stoa::cli
