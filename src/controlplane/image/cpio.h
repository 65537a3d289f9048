// Writer of cpio archives in the "newc" form: what Linux takes as initrd (the kernel's
// Documentation/driver-api/early-userspace/buffer-format.rst).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace stoa::image {

// All entries belong to root and bear no time: equal entries make equal archives. Names are
// relative ("bin/busybox"); a directory comes before what is in it.
class CpioWriter {
public:
    void directory(std::string_view name, uint32_t mode = 0755);
    void file(std::string_view name, std::string_view content, uint32_t mode);
    void symlink(std::string_view name, std::string_view target);
    void character_device(std::string_view name, uint32_t mode, uint32_t major, uint32_t minor);

    // The archive with its trailer; the writer is empty afterwards.
    [[nodiscard]] std::string finish();

private:
    struct Entry;
    void put(std::string_view name, const Entry& entry, std::string_view content);

    std::string archive_;
    uint32_t inode_ = 0;
};

}  // namespace stoa::image
