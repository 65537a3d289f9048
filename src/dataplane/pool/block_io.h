// Reading and writing logical blocks: every read is verified, a bad copy is repaired from a good.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/result.h"
#include "dataplane/io/task.h"
#include "dataplane/pool/devices.h"
#include "dataplane/pool/format.h"
#include "dataplane/pool/regions.h"

namespace stoa::pool {

class BlockIo {
public:
    BlockIo(Devices& devices, Regions& regions, const Checksums& checksums)
        : devices_(devices), regions_(regions), checksums_(checksums) {}

    // Reads one block into `into` (4096 bytes, aligned) and verifies it. A copy that fails is read
    // once more, then the next copy is tried; a good copy replaces bad ones unless `repair` is off.
    // Errors: corrupt (no copy verifies), io.
    io::Task<Result<void>> read(const Entry& entry, MutableBytes into, bool repair = true);

    // Checks every copy of a block of several places; the result counts repaired copies.
    io::Task<Result<uint64_t>> verify_copies(const Entry& entry);

    // Writes one block to all its places. 0 or an errno.
    io::Task<int> write(BlockAddress address, ConstBytes from);

    [[nodiscard]] bool verifies(const Entry& entry, ConstBytes content) const {
        return checksums_.block(content, entry.address(), entry.birth()) == entry.crc();
    }
    [[nodiscard]] uint64_t repairs() const { return repairs_; }
    [[nodiscard]] uint64_t errors() const { return errors_; }
    void set_writable(bool writable) { writable_ = writable; }

private:
    io::Task<int> read_place(const Entry& entry, size_t place, MutableBytes into);

    Devices& devices_;
    Regions& regions_;
    const Checksums& checksums_;
    uint64_t repairs_ = 0;
    uint64_t errors_ = 0;
    bool writable_ = false;
};

}  // namespace stoa::pool
