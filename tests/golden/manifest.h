// What a golden pool holds, kept beside its images as text.
//
//     pool NAME UUID devices=N closed=0|1
//     volume UUID NAME SIZE parent=UUID protected=0|1 tags=HEX
//     snapshot UUID NAME SIZE parent=UUID protected=0|1 volume=UUID
//     block INDEX CRC32C   of the tree above, 4096 bytes (fewer at its end); others read zero
//     damaged INDEX        on the damage list; reading fails
//
// Names have no spaces. Written from what the generator did, not from what the engine says.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/uuid.h"

namespace stoa::golden {

inline constexpr uint64_t kBlockBytes = 4096;

struct Tree {
    bool is_volume = true;
    Uuid uuid;
    std::string name;
    uint64_t size_bytes = 0;
    Uuid parent;
    Uuid volume;
    bool is_protected = false;
    std::vector<std::byte> tags;
    std::map<uint64_t, uint32_t> blocks;  // index: checksum
    std::set<uint64_t> damaged;
};

struct Manifest {
    std::string pool_name;
    Uuid pool;
    size_t devices = 1;
    bool closed = true;
    std::vector<Tree> trees;
};

[[nodiscard]] std::string to_text(const Manifest& manifest);
// Errors: corrupt, naming the line.
Result<Manifest> parse_manifest(const std::string& text);

}  // namespace stoa::golden
