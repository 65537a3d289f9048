// CRC32C (Castagnoli, polynomial 0x1EDC6F41, RFC 3720 appendix B.4), by ISA-L.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace stoa {

// The CRC32C of `bytes`. To continue over several buffers pass the last result as `previous`.
[[nodiscard]] uint32_t crc32c(ConstBytes bytes, uint32_t previous = 0);

}  // namespace stoa
