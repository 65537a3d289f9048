#include "controlplane/image/cpio.h"

#include <utility>

#include <fmt/format.h>

namespace stoa::image {

namespace {
constexpr uint32_t kDirectory = 0040000;
constexpr uint32_t kFile = 0100000;
constexpr uint32_t kSymlink = 0120000;
constexpr uint32_t kCharacterDevice = 0020000;
constexpr uint32_t kPermissions = 07777;
constexpr size_t kAlignment = 4;
constexpr size_t kArchiveAlignment = 512;

void pad(std::string& text, size_t alignment) {
    text.append((alignment - text.size() % alignment) % alignment, '\0');
}
}  // namespace

struct CpioWriter::Entry {
    uint32_t mode = 0;
    uint32_t device_major = 0;
    uint32_t device_minor = 0;
};

void CpioWriter::put(std::string_view name, const Entry& entry, std::string_view content) {
    // Fields of the header: inode, mode, uid, gid, links, mtime, size, device, special device,
    // length of the name with its end, checksum.
    archive_ += fmt::format(
        "070701{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}",
        ++inode_, entry.mode, 0, 0, 1, 0, content.size(), 0, 0, entry.device_major,
        entry.device_minor, name.size() + 1, 0);
    archive_ += name;
    archive_ += '\0';
    pad(archive_, kAlignment);
    archive_ += content;
    pad(archive_, kAlignment);
}

void CpioWriter::directory(std::string_view name, uint32_t mode) {
    put(name, {.mode = kDirectory | (mode & kPermissions)}, {});
}

void CpioWriter::file(std::string_view name, std::string_view content, uint32_t mode) {
    put(name, {.mode = kFile | (mode & kPermissions)}, content);
}

void CpioWriter::symlink(std::string_view name, std::string_view target) {
    put(name, {.mode = kSymlink | 0777}, target);
}

void CpioWriter::character_device(std::string_view name, uint32_t mode, uint32_t major,
                                  uint32_t minor) {
    put(name,
        {.mode = kCharacterDevice | (mode & kPermissions),
         .device_major = major,
         .device_minor = minor},
        {});
}

std::string CpioWriter::finish() {
    inode_ = UINT32_MAX;  // the trailer's is 0
    put("TRAILER!!!", {}, {});
    pad(archive_, kArchiveAlignment);
    inode_ = 0;
    return std::exchange(archive_, {});
}

}  // namespace stoa::image
