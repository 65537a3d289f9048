#include "dataplane/pool/block_io.h"

#include <cerrno>

#include <fmt/format.h>

#include "base/mutant.h"

namespace stoa::pool {

// 0, an errno, or EBADMSG for a wrong checksum.
io::Task<int> BlockIo::read_place(const Entry& entry, size_t place, MutableBytes into) {
    const Location at = regions_.locate(entry.address(), place);
    for (int attempt = 0;; ++attempt) {
        int error = co_await devices_.read(at.device, at.block, into);
        if (error == 0 && !verifies(entry, into) && !MUTANT(5)) error = EBADMSG;
        if (error == 0 || attempt == 1) co_return error;
    }
}

io::Task<Result<void>> BlockIo::read(const Entry& entry, MutableBytes into, bool repair) {
    const size_t places = regions_.places_of(entry.address());
    int error = 0;
    for (size_t place = 0; place < places; ++place) {
        const int result = co_await read_place(entry, place, into);
        if (result != 0) {
            if (error != EBADMSG) error = result;
            continue;
        }
        for (size_t bad = 0; repair && writable_ && bad < place; ++bad) {
            const Location at = regions_.locate(entry.address(), bad);
            if (co_await devices_.write_once(at.device, at.block, into) == 0) ++repairs_;
        }
        co_return Result<void>{};
    }
    ++errors_;
    const Location at = regions_.locate(entry.address(), 0);
    const PoolDevice& device = devices_.list[at.device];
    const std::string name =
        device.device != nullptr ? device.device->name() : fmt::format("{} (missing)", at.device);
    if (error == EBADMSG) {
        co_return Error(ErrorCode::corrupt,
                        fmt::format("block {} fails its checksum on device {} at offset {}",
                                    entry.address(), name, at.block * kBlockBytes));
    }
    co_return Error(ErrorCode::io,
                    fmt::format("block {} cannot be read from device {} at offset {}",
                                entry.address(), name, at.block * kBlockBytes),
                    error);
}

io::Task<Result<uint64_t>> BlockIo::verify_copies(const Entry& entry) {
    const size_t places = regions_.places_of(entry.address());
    AlignedBuffer good(kBlockBytes);
    CO_TRY(co_await read(entry, good.bytes(), false));
    uint64_t repaired = 0;
    AlignedBuffer other(kBlockBytes);
    for (size_t place = 0; place < places; ++place) {
        if (co_await read_place(entry, place, other.bytes()) == 0) continue;
        if (!writable_) continue;
        const Location at = regions_.locate(entry.address(), place);
        if (co_await devices_.write_once(at.device, at.block, good.bytes()) == 0) {
            ++repairs_;
            ++repaired;
        }
    }
    co_return repaired;
}

io::Task<int> BlockIo::write(BlockAddress address, ConstBytes from) {
    const size_t places = regions_.places_of(address);
    int error = 0;
    for (size_t place = 0; place < places; ++place) {
        if (place == 1 && MUTANT(6)) break;  // the second copy is not written
        const Location at = regions_.locate(address, place);
        const int result = co_await devices_.write(at.device, at.block, from);
        if (result != 0) error = result;
    }
    co_return error;
}

}  // namespace stoa::pool
