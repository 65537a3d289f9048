// What the workload writes: every sector says which write it comes from and where it belongs, so
// that whatever is read back is recognised or found foreign.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

#include "base/bytes.h"

namespace stoa::killtest {

inline constexpr size_t kSectorBytes = 512;
inline constexpr size_t kBlockSectors = 8;

// The number of a write; 0: never written, or discarded.
using Version = uint64_t;

struct Place {
    uint64_t volume = 0;
    uint64_t sector = 0;
};

inline uint64_t pattern_word(Version version, Place place, size_t index) {
    if (index == 0) return version;
    uint64_t word = version * 0x9E3779B97F4A7C15 + place.volume * 0xC2B2AE3D27D4EB4F +
                    place.sector * 0x165667B19E3779F9 + index * 0xD6E8FEB86659FD93;
    word ^= word >> 29;
    return word;
}

inline void fill_sector(std::byte* into, Version version, Place place) {
    for (size_t i = 0; i < kSectorBytes / sizeof(uint64_t); ++i) {
        store_le<uint64_t>(into + i * sizeof(uint64_t), pattern_word(version, place, i));
    }
}

// The write that these 512 bytes come from; nothing if they are torn, foreign or garbage.
inline std::optional<Version> recognise(const std::byte* sector, Place place) {
    if (is_zero({sector, kSectorBytes})) return 0;
    const auto version = load_le<uint64_t>(sector);
    if (version == 0) return std::nullopt;
    for (size_t i = 1; i < kSectorBytes / sizeof(uint64_t); ++i) {
        if (load_le<uint64_t>(sector + i * sizeof(uint64_t)) != pattern_word(version, place, i)) {
            return std::nullopt;
        }
    }
    return version;
}

}  // namespace stoa::killtest
