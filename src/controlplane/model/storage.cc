#include "controlplane/model/storage.h"

#include <set>

#include <fmt/format.h>

#include "controlplane/model/checks.h"

namespace stoa::model {

namespace {

constexpr size_t kPathBytesMax = 4095;

}  // namespace

Result<void> check_volume_size(std::string_view field, uint64_t size_bytes) {
    if (size_bytes >= kSectorBytes && size_bytes <= kVolumeBytesMax &&
        size_bytes % kSectorBytes == 0) {
        return {};
    }
    return wrong_field(
        field, fmt::format("must be a multiple of {} from {} to {}, not {}", kSectorBytes,
                           kSectorBytes, size_text(kVolumeBytesMax), size_text(size_bytes)));
}

Result<void> check_device_path(std::string_view field, std::string_view path) {
    TRY(check_line(field, path, kPathBytesMax));
    if (path.size() > 1 && path.front() == '/') return {};
    return wrong_field(field, fmt::format("\"{}\" must be an absolute path", path));
}

Result<void> check(const PoolSpec& spec) {
    TRY(check_range("spec.devices", spec.devices.size(), 1, kDevicesMax));
    std::set<std::string> paths;
    for (size_t i = 0; i < spec.devices.size(); ++i) {
        const std::string field = fmt::format("spec.devices[{}]", i);
        TRY(check_device_path(field, spec.devices[i]));
        if (!paths.insert(spec.devices[i]).second) {
            return wrong_field(field, fmt::format("\"{}\" is there twice", spec.devices[i]));
        }
    }
    return {};
}

Result<void> check(const VolumeSpec& spec) {
    if (spec.pool.is_nil()) return wrong_field("spec.pool", "is missing");
    return check_volume_size("spec.size_bytes", spec.size_bytes);
}

}  // namespace stoa::model
