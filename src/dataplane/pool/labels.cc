#include "dataplane/pool/labels.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

namespace stoa::pool {

namespace {

// Where nothing says where the second label is it is searched for; system areas are smaller.
constexpr uint64_t kLabelSearchBlocks = 262144;

io::Task<Result<Label>> read_first_label(io::Device& device) {
    if (device.size_bytes() < kBlockBytes) {
        co_return Error(ErrorCode::not_found, fmt::format("device {} has only {} bytes",
                                                          device.name(), device.size_bytes()));
    }
    AlignedBuffer block(kBlockBytes);
    const int error = co_await device.read(0, block.bytes());
    if (error != 0) {
        co_return Error(ErrorCode::io,
                        fmt::format("device {}: its label cannot be read", device.name()), error);
    }
    Result<Label> label = decode_label(block.bytes());
    if (label.ok()) co_return label;
    co_return label.error().with_context(fmt::format("device {}", device.name()));
}

// `block` lies at `at`: is it a second label, and at its place?
std::optional<Label> as_second_label(ConstBytes block, uint64_t at) {
    Result<Label> label = decode_label(block);
    if (!label.ok() || DeviceLayout(*label).label[1] != at) return std::nullopt;
    return *std::move(label);
}

io::Task<std::optional<Label>> find_second_label(io::Device& device, const Label* other) {
    const uint64_t size_blocks = device.size_bytes() / kBlockBytes;
    AlignedBuffer window(size_t{1} << 20);
    if (other != nullptr) {
        const uint64_t at = DeviceLayout(*other).label[1];
        const MutableBytes into = window.bytes().first(kBlockBytes);
        if (at < size_blocks && co_await device.read(at * kBlockBytes, into) == 0) {
            if (auto label = as_second_label(into, at)) co_return label;
        }
    }
    const uint64_t blocks = std::min(size_blocks, kLabelSearchBlocks);
    for (uint64_t at = 1; at < blocks;) {
        const uint64_t count = std::min<uint64_t>(blocks - at, window.size() / kBlockBytes);
        const MutableBytes into = window.bytes().first(count * kBlockBytes);
        if (co_await device.read(at * kBlockBytes, into) == 0) {
            for (uint64_t i = 0; i < count; ++i) {
                const MutableBytes block = into.subspan(i * kBlockBytes, kBlockBytes);
                if (auto label = as_second_label(block, at + i)) co_return label;
            }
        }
        at += count;
    }
    co_return std::nullopt;
}

}  // namespace

io::Task<Result<Label>> read_label(io::Device& device, const Label* other) {
    Result<Label> first = co_await read_first_label(device);
    if (first.ok() || first.error().code() == ErrorCode::unsupported) co_return first;
    if (auto second = co_await find_second_label(device, other)) co_return *std::move(second);
    co_return first;
}

io::Task<Result<std::vector<Label>>> read_labels(const std::vector<io::Device*>& devices) {
    std::optional<Label> known;
    for (size_t i = 0; i < devices.size() && !known; ++i) {
        Result<Label> label = co_await read_first_label(*devices[i]);
        if (label.ok()) known = *std::move(label);
    }
    std::vector<Label> labels;
    for (io::Device* device : devices) {
        CO_TRY_ASSIGN(Label label, co_await read_label(*device, known ? &*known : nullptr));
        if (device->size_bytes() / kBlockBytes < label.data_start) {
            co_return too_short(*device, label.data_start, "its label says");
        }
        labels.push_back(std::move(label));
    }
    co_return labels;
}

Error too_short(const io::Device& device, uint64_t needed_blocks, const char* than) {
    const uint64_t needed_bytes = needed_blocks * kBlockBytes;
    return Error(ErrorCode::invalid_argument,
                 fmt::format("device {} is {} bytes shorter than {}: it has {} bytes, {} are "
                             "needed; grow it back to the size it had (what was cut off and is "
                             "not there again is lost), or open the pool without it",
                             device.name(), needed_bytes - device.size_bytes(), than,
                             device.size_bytes(), needed_bytes));
}

}  // namespace stoa::pool
