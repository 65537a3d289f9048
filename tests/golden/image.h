// A device image in the tree: only what is not zero, so that a pool of megabytes takes kilobytes.
//
// File (little-endian): magic "STOAGLD1", u64 size of the device in bytes, then until the end of
// the file runs of { u64 offset, u32 length, `length` bytes }. Everything else is zero.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace stoa::golden {

[[nodiscard]] std::vector<std::byte> pack_image(ConstBytes device);
// Errors: corrupt.
Result<std::vector<std::byte>> unpack_image(ConstBytes file);

// Errors: io.
Result<std::vector<std::byte>> read_file(const std::string& path);
Result<void> write_file(const std::string& path, ConstBytes bytes);

}  // namespace stoa::golden
