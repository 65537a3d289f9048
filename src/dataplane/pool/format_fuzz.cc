// Any bytes through every decoder of the pool's format: an error or a value, never a crash.
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "dataplane/pool/format.h"
#include "dataplane/pool/records.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace stoa;
    using namespace stoa::pool;
    const ConstBytes bytes(reinterpret_cast<const std::byte*>(data), size);
    AlignedBuffer block(kBlockBytes);
    std::memset(block.data(), 0, kBlockBytes);
    std::memcpy(block.data(), data, std::min<size_t>(size, kBlockBytes));
    static_cast<void>(decode_label(block.bytes()));
    static_cast<void>(decode_superblock(block.bytes()));
    static_cast<void>(decode_region(block.data(), 7));
    static_cast<void>(decode_object(block.data()));
    ConstBytes rest = bytes;
    while (!rest.empty()) {
        size_t used = 0;
        const Result<Record> record = decode_record(rest, used);
        if (!record.ok()) break;
        rest = rest.subspan(used);
    }
    return 0;
}
