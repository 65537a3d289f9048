// What the API is asked about images. Wherever a thing is named, its id or its name will do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>

#include "base/describe.h"
#include "controlplane/model/record.h"

namespace stoa::model {

// From files of the host: only for who may do anything on it. A remote client uploads instead.
struct ImageImport {
    std::string name;
    Labels labels;
    std::string pool;
    std::string disk_path;
    std::string disk_format = "raw";
    std::string kernel_path;
    std::string initrd_path;
    std::string command_line;
    std::string os;
    uint64_t memory_bytes_min = 0;
    static constexpr auto fields() {
        return std::tuple(
            required("name", &ImageImport::name, "a DNS label"),
            optional("labels", &ImageImport::labels, ""),
            optional("pool", &ImageImport::pool, "for its disk; the only one if empty"),
            optional("disk_path", &ImageImport::disk_path, "file or block device"),
            optional("disk_format", &ImageImport::disk_format, "raw, qcow2 or iso; never guessed"),
            optional("kernel_path", &ImageImport::kernel_path, "to be started without boot loader"),
            optional("initrd_path", &ImageImport::initrd_path, ""),
            optional("command_line", &ImageImport::command_line, "of the kernel"),
            optional("os", &ImageImport::os, "such as debian-12"),
            optional("memory_bytes_min", &ImageImport::memory_bytes_min, "to boot it"));
    }
};

// Made on this host out of its distribution's packages.
struct ImageBuild {
    std::string name;
    Labels labels;
    std::string recipe = "tiny";
    std::string pool;
    static constexpr auto fields() {
        return std::tuple(
            required("name", &ImageBuild::name, "a DNS label"),
            optional("labels", &ImageBuild::labels, ""),
            optional("recipe", &ImageBuild::recipe,
                     "tiny: a kernel, busybox and the guest agent; boots in seconds"),
            optional("pool", &ImageBuild::pool, "for its disk; the only one if empty"));
    }
};

// What a VM's disk holds becomes an image.
struct ImageFromSnapshot {
    std::string name;
    Labels labels;
    std::string snapshot;
    std::string disk;
    std::string os;
    uint64_t memory_bytes_min = 0;
    static constexpr auto fields() {
        return std::tuple(
            required("name", &ImageFromSnapshot::name, "a DNS label"),
            optional("labels", &ImageFromSnapshot::labels, ""),
            required("snapshot", &ImageFromSnapshot::snapshot, "VM/NAME or POOL/VOLUME/NAME"),
            optional("disk", &ImageFromSnapshot::disk, "of a VM's snapshot; the first if empty"),
            optional("os", &ImageFromSnapshot::os, "such as debian-12"),
            optional("memory_bytes_min", &ImageFromSnapshot::memory_bytes_min, "to boot it"));
    }
};

struct ImageSet {
    std::optional<std::string> name;
    std::optional<Labels> labels;
    std::optional<std::string> command_line;
    std::optional<std::string> os;
    std::optional<uint64_t> memory_bytes_min;
    static constexpr auto fields() {
        return std::tuple(optional("name", &ImageSet::name, ""),
                          optional("labels", &ImageSet::labels, "all of them"),
                          optional("command_line", &ImageSet::command_line, "of the kernel"),
                          optional("os", &ImageSet::os, ""),
                          optional("memory_bytes_min", &ImageSet::memory_bytes_min, ""));
    }
};

}  // namespace stoa::model
