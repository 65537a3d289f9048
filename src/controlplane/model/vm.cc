#include "controlplane/model/vm.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "controlplane/model/checks.h"

namespace stoa::model {

namespace {

constexpr uint64_t kMib = uint64_t{1} << 20;
constexpr uint32_t kDaySeconds = 86'400;
constexpr size_t kCommandLineBytesMax = 2047;  // the kernel's own limit
constexpr size_t kSerialBytesMax = 20;         // of a virtio disk
constexpr size_t kIdeDisksMax = 4;
constexpr size_t kSataDisksMax = 6;
constexpr size_t kMacBytes = 17;

std::string item(std::string_view list, size_t index, std::string_view field) {
    return fmt::format("spec.{}[{}].{}", list, index, field);
}

bool is_mac(std::string_view text) {
    if (text.size() != kMacBytes) return false;
    for (size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        const bool is_hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
        if (i % 3 == 2 ? c != ':' : !is_hex) return false;
    }
    // An odd first byte means many receivers.
    const bool is_multicast = std::string_view("13579bdf").contains(text[1]);
    return !is_multicast && text != "00:00:00:00:00:00";
}

Result<void> check_disks(const VmSpec& spec, std::set<std::string>& names) {
    TRY(check_range("spec.disks", spec.disks.size(), 0, kDisksMax));
    std::set<Uuid> written;
    size_t ide = 0;
    size_t sata = 0;
    for (size_t i = 0; i < spec.disks.size(); ++i) {
        const VmDisk& disk = spec.disks[i];
        TRY(check_unique_name(item("disks", i, "name"), disk.name, names));
        if (disk.name.size() > kSerialBytesMax) {
            return wrong_field(item("disks", i, "name"),
                               fmt::format("\"{}\" is its serial number in the guest, which has at "
                                           "most {} bytes",
                                           disk.name, kSerialBytesMax));
        }
        if (disk.volume.is_nil()) return wrong_field(item("disks", i, "volume"), "is missing");
        if (!disk.read_only && !written.insert(disk.volume).second) {
            return wrong_field(item("disks", i, "volume"),
                               fmt::format("{} is there twice; one of them must be read-only",
                                           disk.volume.to_string()));
        }
        ide += disk.bus == DiskBus::ide ? 1 : 0;
        sata += disk.bus == DiskBus::sata ? 1 : 0;
        if (ide > kIdeDisksMax || sata > kSataDisksMax) {
            return wrong_field(
                item("disks", i, "bus"),
                fmt::format("at most {} disks at ide and {} at sata", kIdeDisksMax, kSataDisksMax));
        }
    }
    return {};
}

Result<void> check_nics(const VmSpec& spec, std::set<std::string>& names) {
    TRY(check_range("spec.nics", spec.nics.size(), 0, kNicsMax));
    std::set<std::string> macs;
    for (size_t i = 0; i < spec.nics.size(); ++i) {
        const VmNic& nic = spec.nics[i];
        TRY(check_unique_name(item("nics", i, "name"), nic.name, names));
        if (!nic.mac.empty() && !is_mac(nic.mac)) {
            return wrong_field(item("nics", i, "mac"),
                               "must be six pairs of a-f and 0-9 such as 52:54:00:12:34:56, "
                               "neither multicast nor all 0");
        }
        if (!nic.mac.empty() && !macs.insert(nic.mac).second) {
            return wrong_field(item("nics", i, "mac"), fmt::format("{} occurs twice", nic.mac));
        }
        if (nic.address.empty()) continue;
        if (!is_ipv4(nic.address)) {
            return wrong_field(item("nics", i, "address"), "must be an address such as 10.7.0.2");
        }
        if (!nic.network) {
            return wrong_field(item("nics", i, "address"), "is possible only in a network");
        }
    }
    return {};
}

Result<void> check_boot(const VmSpec& spec, const std::set<std::string>& names) {
    std::set<std::string> listed;
    for (size_t i = 0; i < spec.boot_order.size(); ++i) {
        const std::string& name = spec.boot_order[i];
        const std::string field = fmt::format("spec.boot_order[{}]", i);
        TRY(check_unique_name(field, name, listed));
        if (names.contains(name)) continue;
        return wrong_field(field, fmt::format("there is no disk or NIC \"{}\"; possible: {}", name,
                                              fmt::join(names, ", ")));
    }
    if (!spec.direct_boot) return {};
    return check_line("spec.direct_boot.command_line", spec.direct_boot->command_line,
                      kCommandLineBytesMax);
}

// What differs between two lists of named things, as "disks: data added".
template <class T, class Same>
void compare_lists(std::string_view what, const std::vector<T>& before, const std::vector<T>& after,
                   const Same& same, std::vector<std::string>& into) {
    const auto find = [](const std::vector<T>& list, const std::string& name) {
        return std::ranges::find(list, name, &T::name);
    };
    for (const T& one : before) {
        const auto now = find(after, one.name);
        if (now == after.end()) into.push_back(fmt::format("{}: {} removed", what, one.name));
        else if (!same(one, *now)) into.push_back(fmt::format("{}: {} changed", what, one.name));
    }
    for (const T& one : after) {
        if (find(before, one.name) == before.end()) {
            into.push_back(fmt::format("{}: {} added", what, one.name));
        }
    }
}

// Those fields that the running process does not care for left out.
bool same_disk(const VmDisk& a, const VmDisk& b) {
    return a.volume == b.volume && a.bus == b.bus && a.media == b.media &&
           a.read_only == b.read_only;
}
bool same_nic(const VmNic& a, const VmNic& b) {
    return a.network == b.network && a.model == b.model && a.mac == b.mac && a.address == b.address;
}

std::string order_text(const std::vector<std::string>& order) {
    return order.empty() ? std::string("disks") : fmt::format("{}", fmt::join(order, " "));
}

}  // namespace

Result<void> check(const VmSpec& spec) {
    TRY(check_range("spec.cpus", spec.cpus, 1, kCpusMax));
    if (spec.memory_bytes < kMemoryBytesMin || spec.memory_bytes > kMemoryBytesMax ||
        spec.memory_bytes % kMib != 0) {
        return wrong_field("spec.memory_bytes",
                           fmt::format("must be a multiple of 1 MiB from {} to {}, not {}",
                                       size_text(kMemoryBytesMin), size_text(kMemoryBytesMax),
                                       size_text(spec.memory_bytes)));
    }
    TRY(check_range("spec.start_delay_seconds", spec.start_delay_seconds, 0, kDaySeconds));
    TRY(check_range("spec.restart.attempts_max", spec.restart.attempts_max, 0, 1000));
    TRY(check_range("spec.restart.window_seconds", spec.restart.window_seconds, 1,
                    7 * kDaySeconds));
    std::set<std::string> names;  // of disks and NICs: the boot order tells them by it
    TRY(check_disks(spec, names));
    TRY(check_nics(spec, names));
    return check_boot(spec, names);
}

std::vector<std::string> pending_changes(const VmSpec& running, const VmSpec& wanted) {
    std::vector<std::string> changes;
    const auto tell = [&changes](std::string_view field, const auto& before, const auto& after) {
        if (before != after) changes.push_back(fmt::format("{}: {} -> {}", field, before, after));
    };
    tell("cpus", running.cpus, wanted.cpus);
    tell("memory_bytes", size_text(running.memory_bytes), size_text(wanted.memory_bytes));
    tell("firmware", enum_names(Firmware{}).at(static_cast<size_t>(running.firmware)),
         enum_names(Firmware{}).at(static_cast<size_t>(wanted.firmware)));
    tell("boot_order", order_text(running.boot_order), order_text(wanted.boot_order));
    const auto boot_text = [](const std::optional<DirectBoot>& boot) {
        return boot ? fmt::format("image {} \"{}\"", boot->image.to_string(), boot->command_line)
                    : std::string("none");
    };
    tell("direct_boot", boot_text(running.direct_boot), boot_text(wanted.direct_boot));
    compare_lists("disks", running.disks, wanted.disks, &same_disk, changes);
    compare_lists("nics", running.nics, wanted.nics, &same_nic, changes);
    return changes;
}

}  // namespace stoa::model
