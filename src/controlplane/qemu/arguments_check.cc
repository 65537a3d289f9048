#include "controlplane/qemu/arguments_check.h"

#include <algorithm>
#include <cctype>
#include <set>

#include <fmt/format.h>

namespace stoa::qemu {

namespace {

constexpr uint64_t kMib = uint64_t{1} << 20;
constexpr size_t kLabelMax = 63;
constexpr size_t kExportNameMax = 4096;  // of the NBD protocol
constexpr uint32_t kSparePortsMax = 64;
constexpr uint32_t kTranslationMibMax = 2048;

template <class... Args>
Error wrong(fmt::format_string<Args...> text, Args&&... args) {
    return {ErrorCode::invalid_argument, fmt::format(text, std::forward<Args>(args)...)};
}

bool is_plain(std::string_view text) {
    return std::ranges::none_of(
        text, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; });
}

bool is_word_character(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// Letters, digits and what `more` holds: needs no escape anywhere.
bool is_word(std::string_view text, std::string_view more) {
    return !text.empty() && std::ranges::all_of(text, [&](char c) {
        return is_word_character(c) || more.contains(c);
    });
}

bool is_label(std::string_view text) {
    const auto allowed = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
    };
    return !text.empty() && text.size() <= kLabelMax && std::ranges::all_of(text, allowed) &&
           text.front() != '-' && text.back() != '-';
}

Result<void> check_path(std::string_view what, std::string_view path) {
    if (!path.starts_with('/') || !is_plain(path)) {
        return wrong("{}: \"{}\" is not an absolute path", what, path);
    }
    return {};
}

Result<void> check_socket(std::string_view what, std::string_view path) {
    TRY(check_path(what, path));
    if (path.size() > kSocketPathMax) {
        return wrong("{}: \"{}\" has {} characters; a socket may have {}", what, path, path.size(),
                     kSocketPathMax);
    }
    return {};
}

bool is_mac(std::string_view text) {
    if (text.size() != 17) return false;
    for (size_t i = 0; i < text.size(); ++i) {
        const bool good =
            i % 3 == 2 ? text[i] == ':' : std::string_view("0123456789abcdef").contains(text[i]);
        if (!good) return false;
    }
    return !std::string_view("13579bdf").contains(text[1]);  // multicast
}

bool is_ipv4(std::string_view text) {
    int dots = 0;
    unsigned number = 256;
    for (const char c : text) {
        if (c == '.') {
            if (number > 255 || ++dots > 3) return false;
            number = 256;
        } else if (c >= '0' && c <= '9') {
            number = (number == 256 ? 0 : number * 10) + static_cast<unsigned>(c - '0');
            if (number > 255) return false;
        } else {
            return false;
        }
    }
    return dots == 3 && number <= 255;
}

Result<void> check_disk(const DiskArgument& disk) {
    if (!is_label(disk.name)) return wrong("disk \"{}\": its name is not a DNS label", disk.name);
    TRY(check_socket(fmt::format("disk {}: socket", disk.name), disk.socket));
    if (disk.export_name.size() > kExportNameMax || !is_plain(disk.export_name)) {
        return wrong("disk {}: export name \"{}\" is too long or has control characters", disk.name,
                     disk.export_name);
    }
    return {};
}

Result<void> check_nic(const NicArgument& nic) {
    if (!is_label(nic.name)) return wrong("nic \"{}\": its name is not a DNS label", nic.name);
    if (!is_mac(nic.mac)) {
        return wrong("nic {}: mac \"{}\" is not of the form 52:54:00:12:34:56, lower case, unicast",
                     nic.name, nic.mac);
    }
    if (nic.tap_descriptor && *nic.tap_descriptor < 3) {
        return wrong("nic {}: descriptor {} is not that of a tap", nic.name, *nic.tap_descriptor);
    }
    if (nic.tap_descriptor && !nic.forwards.empty()) {
        return wrong("nic {}: forwards are for user-mode networking", nic.name);
    }
    for (const ForwardArgument& forward : nic.forwards) {
        if (!is_ipv4(forward.host_address)) {
            return wrong("nic {}: \"{}\" is not an IPv4 address", nic.name, forward.host_address);
        }
        if (forward.host_port == 0 || forward.guest_port == 0) {
            return wrong("nic {}: a forward from port {} to port {}", nic.name, forward.host_port,
                         forward.guest_port);
        }
    }
    return {};
}

template <class Item>
Result<void> check_unique(std::string_view what, const std::vector<Item>& items) {
    std::set<std::string_view> names;
    for (const Item& item : items) {
        if (!names.insert(item.name).second) return wrong("{} {} occurs twice", what, item.name);
    }
    return {};
}

// QEMU refuses two devices with the same index.
Result<void> check_boot_order(const MachineArguments& machine) {
    std::set<uint32_t> indices;
    const auto is_taken = [&](uint32_t index) {
        return index > 0 && !indices.insert(index).second;
    };
    for (const DiskArgument& disk : machine.disks) {
        if (is_taken(disk.boot_index)) {
            return wrong("disk {}: boot index {} occurs twice", disk.name, disk.boot_index);
        }
    }
    for (const NicArgument& nic : machine.nics) {
        if (is_taken(nic.boot_index)) {
            return wrong("nic {}: boot index {} occurs twice", nic.name, nic.boot_index);
        }
    }
    return {};
}

Result<void> check_size(const MachineArguments& machine) {
    if (machine.cpus < 1 || machine.cpus > model::kCpusMax || machine.cpus_max > model::kCpusMax) {
        return wrong("cpus: {} (at most {}) is not in 1 to {}", machine.cpus, machine.cpus_max,
                     model::kCpusMax);
    }
    for (const uint64_t bytes : {machine.memory_bytes, machine.memory_bytes_max}) {
        if (bytes % kMib != 0 || bytes > model::kMemoryBytesMax) {
            return wrong("memory: {} bytes is not a multiple of 1 MiB up to {}", bytes,
                         model::kMemoryBytesMax);
        }
    }
    if (machine.memory_bytes < model::kMemoryBytesMin) {
        return wrong("memory: {} bytes is less than {}", machine.memory_bytes,
                     model::kMemoryBytesMin);
    }
    if (machine.translation_mib < 1 || machine.translation_mib > kTranslationMibMax) {
        return wrong("translation cache: {} MiB is not in 1 to {}", machine.translation_mib,
                     kTranslationMibMax);
    }
    if (machine.disks.size() > model::kDisksMax || machine.nics.size() > model::kNicsMax ||
        machine.spare_ports > kSparePortsMax) {
        return wrong("{} disks, {} nics, {} spare ports: at most {}, {} and {}",
                     machine.disks.size(), machine.nics.size(), machine.spare_ports,
                     model::kDisksMax, model::kNicsMax, kSparePortsMax);
    }
    return {};
}

Result<void> check_kernel(const KernelArgument& kernel) {
    TRY(check_path("kernel", kernel.kernel));
    if (!kernel.initrd.empty()) TRY(check_path("initrd", kernel.initrd));
    if (kernel.command_line.size() > kKernelCommandLineMax || !is_plain(kernel.command_line)) {
        return wrong("kernel command line of {} bytes: at most {}, no control characters",
                     kernel.command_line.size(), kKernelCommandLineMax);
    }
    return {};
}

}  // namespace

Result<void> check(const MachineArguments& machine) {
    if (machine.id.is_nil()) return wrong("id: it is nil");
    const std::string& type = machine.machine_type;
    const bool is_known = type.starts_with("pc-q35-") || type.starts_with("pc-i440fx-");
    if (!is_known || !is_word(type, "-.")) {
        return wrong("machine type \"{}\" is neither pc-q35-VERSION nor pc-i440fx-VERSION", type);
    }
    // Options of CPUs, "qemu64,+aes", are for us to choose.
    if (!machine.cpu_model.empty() && !is_word(machine.cpu_model, "-._,+=")) {
        return wrong("cpu model \"{}\" has unusual characters", machine.cpu_model);
    }
    TRY(check_size(machine));
    // The longest name in it is that of serial.sock.
    TRY(check_socket("run directory", serial_socket(machine.run_directory)));
    if (!machine.serial_log.empty()) TRY(check_path("serial log", machine.serial_log));
    if (machine.firmware == model::Firmware::uefi) {
        TRY(check_path("uefi code", machine.uefi_code));
        TRY(check_path("uefi variables", machine.uefi_variables));
    }
    if (machine.kernel) TRY(check_kernel(*machine.kernel));
    for (const DiskArgument& disk : machine.disks) TRY(check_disk(disk));
    for (const NicArgument& nic : machine.nics) TRY(check_nic(nic));
    TRY(check_unique("disk", machine.disks));
    std::set<std::string_view> macs;
    for (const NicArgument& nic : machine.nics) {
        if (!macs.insert(nic.mac).second) return wrong("mac {} occurs twice", nic.mac);
    }
    TRY(check_unique("nic", machine.nics));
    return check_boot_order(machine);
}

}  // namespace stoa::qemu
