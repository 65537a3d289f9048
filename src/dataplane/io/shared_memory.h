// Memory that outlives the process but not the host: a file on tmpfs, mapped.
#pragma once

#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace stoa::io {

class SharedMemory {
public:
    virtual ~SharedMemory() = default;
    // The mapped bytes; the same for the whole life of the object.
    [[nodiscard]] virtual MutableBytes bytes() = 0;
    // Whether another process would find it: its file is still where it was opened.
    [[nodiscard]] virtual bool can_be_found() const { return true; }
};

// Opens or creates the file (mode 0600) and maps it. A file of another size is replaced by a
// zeroed one of `size_bytes`. Errors: no_space; io (also: somebody else may have written it).
Result<std::unique_ptr<SharedMemory>> open_shared_memory(const std::string& path,
                                                         size_t size_bytes);

}  // namespace stoa::io
