#include "base/crc32c.h"

#include <isa-l/crc.h>

namespace stoa {

uint32_t crc32c(ConstBytes bytes, uint32_t previous) {
    // ISA-L takes and returns the raw register; RFC 3720 inverts it at both ends.
    auto* data = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(bytes.data()));
    return ~crc32_iscsi(data, static_cast<int>(bytes.size()), ~previous);
}

}  // namespace stoa
