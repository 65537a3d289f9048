// Memory for coroutine frames: free lists by size class, so that an I/O does not call malloc.
//
// One pool per thread, the only thread-local state of the data plane: a frame is made before any
// object of the engine is in reach (operator new of the promise has no arguments to find one by),
// and frames never move between threads. See docs/decisions/003-coroutines.md.
#pragma once

#include <cstddef>

namespace stoa::io {

// Borrowed memory of at least `size_bytes`, aligned for any type. Never null.
[[nodiscard]] void* allocate_frame(size_t size_bytes);
// Gives it back, with the size that was asked for, on the thread that asked.
void release_frame(void* frame, size_t size_bytes);

}  // namespace stoa::io
