#include "dataplane/pool/takeover.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include <fmt/format.h>

#include "base/utf8.h"
#include "dataplane/io/system_error.h"
#include "dataplane/pool/labels.h"

namespace stoa::pool {

namespace {

struct Signature {
    uint64_t offset_bytes;
    std::string_view magic;
    const char* what;
};

// Where nothing else knows the data of others, and what libblkid does not know.
constexpr Signature kSignatures[] = {
    {0, "STOALBL1", "a Stoa pool"},
    {0x438, "\x53\xEF", "an ext2/3/4 file system"},
    {0, "XFSB", "an XFS file system"},
    {0x10040, "_BHRfS_M", "a btrfs file system"},
    {0, "QFI\xFB", "a qcow2 image"},
    {0, "LUKS\xBA\xBE", "a LUKS volume"},
    {512, "EFI PART", "a GPT partition table"},
    {512, "LABELONE", "an LVM physical volume"},
    {510, "\x55\xAA", "a boot sector or partition table"},
};

Error is_not_free(const io::Device& device, const std::string& what) {
    return Error(
        ErrorCode::already_exists,
        fmt::format("device {} bears {}; force the creation to overwrite it", device.name(), what));
}

// Positions of the blocks that say that there is a pool.
std::vector<uint64_t> head_blocks(const DeviceLayout& layout) {
    std::vector<uint64_t> places{layout.label[0], layout.label[1]};
    for (const auto& copy : layout.superblock) places.insert(places.end(), copy, copy + 2);
    return places;
}

io::Task<Result<void>> flush(io::Device& device) {
    const int error = co_await device.flush();
    if (error == 0) co_return Result<void>{};
    co_return io::system_error(fmt::format("device {} cannot be flushed", device.name()), error);
}

// An older pool must not be found again when the new one's first label is lost.
io::Task<Result<void>> erase_old_pool(io::Device& device) {
    const Result<Label> label = co_await read_label(device);
    if (!label.ok()) co_return Result<void>{};
    AlignedBuffer zeros(kBlockBytes);
    std::ranges::fill(zeros.bytes(), std::byte{0});
    for (const uint64_t at : head_blocks(DeviceLayout(*label))) {
        if ((at + 1) * kBlockBytes > device.size_bytes()) continue;
        const int error = co_await device.write(at * kBlockBytes, zeros.bytes());
        if (error != 0) {
            co_return io::system_error(fmt::format("device {} cannot be written", device.name()),
                                       error);
        }
    }
    co_return Result<void>{};
}

}  // namespace

io::Task<Result<void>> check_device_is_free(io::Device& device, io::ForeignData* foreign) {
    AlignedBuffer head(size_t{128} << 10);
    if (device.size_bytes() < head.size()) co_return Result<void>{};
    const int error = co_await device.read(0, head.bytes());
    if (error != 0) {
        co_return io::system_error(fmt::format("device {} cannot be read", device.name()), error);
    }
    // Also of a pool whose first label is lost.
    const Result<Label> label = co_await read_label(device);
    if (label.ok()) {
        co_return is_not_free(device, fmt::format("Stoa pool '{}'", to_plain_text(label->name)));
    }
    if (foreign != nullptr) {
        CO_TRY_ASSIGN(const std::vector<std::string> found, co_await foreign->find(device));
        if (!found.empty())
            co_return is_not_free(device, fmt::format("{}", fmt::join(found, ", ")));
    }
    for (const Signature& s : kSignatures) {
        if (std::memcmp(head.data() + s.offset_bytes, s.magic.data(), s.magic.size()) == 0) {
            co_return is_not_free(device, s.what);
        }
    }
    co_return Result<void>{};
}

io::Task<Result<void>> check_writable(io::Device& device, const DeviceLayout& layout) {
    AlignedBuffer block(kBlockBytes);
    for (const uint64_t at : head_blocks(layout)) {
        int error = co_await device.read(at * kBlockBytes, block.bytes());
        if (error != 0) {
            co_return io::system_error(fmt::format("device {} cannot be read", device.name()),
                                       error);
        }
        error = co_await device.write(at * kBlockBytes, block.bytes());
        if (error != 0) {
            co_return io::system_error(fmt::format("device {} cannot be written", device.name()),
                                       error);
        }
    }
    co_return co_await flush(device);
}

io::Task<Result<void>> clear_device(io::Device& device, io::ForeignData* foreign) {
    if (foreign != nullptr) CO_TRY(co_await foreign->wipe(device));
    CO_TRY(co_await erase_old_pool(device));
    co_return co_await flush(device);
}

}  // namespace stoa::pool
