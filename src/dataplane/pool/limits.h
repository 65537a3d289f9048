// The limits of a pool, each with a test at the limit and one beyond.
#pragma once

#include <cstddef>
#include <cstdint>

namespace stoa::pool {

inline constexpr uint64_t kBlockBytes = 4096;
inline constexpr uint64_t kSectorBytes = 512;
inline constexpr uint64_t kVolumeBytesMax = uint64_t{16} << 40;
inline constexpr size_t kVolumesMax = 10'000;
inline constexpr size_t kSnapshotsPerVolumeMax = 1'024;
inline constexpr size_t kSnapshotsMax = 65'536;
inline constexpr size_t kSnapshotGroupMax = 256;
inline constexpr size_t kCloneDepthMax = 1'024;
inline constexpr size_t kDevicesMax = 32;
inline constexpr uint32_t kPhysicalRegionsMax = 1U
                                                << 24;  // of all devices: 2 PiB with the usual size
inline constexpr uint32_t kObjectsMax = 1U << 21;  // of all kinds: they are held in memory
inline constexpr size_t kNameBytesMax = 63;
inline constexpr size_t kPoolNameBytesMax = 31;
inline constexpr size_t kTagsBytesMax = 192;
inline constexpr size_t kDamageRangesMax = 4'096;  // of a volume or snapshot
inline constexpr uint64_t kRequestBytesMax = uint64_t{32} << 20;

}  // namespace stoa::pool
