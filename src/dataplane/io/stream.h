// Stream: bytes in order between two ends: a socket (socket.h), TLS over one (tls.h), or memory
// (memory_stream.h).
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "dataplane/io/task.h"

namespace stoa::io {

// At most one read and one write run at a time, beside each other. Everything that was started
// ends before the stream is destroyed: shut_down() makes it end soon.
class Stream {
public:
    virtual ~Stream() = default;

    // At least one byte and at most into.size() (not 0); 0: the peer will send no more.
    // Buffers are borrowed until the task ends. Errors: io, cancelled (after shut_down()).
    virtual Task<Result<size_t>> read_some(MutableBytes into) = 0;
    // All `parts`, one after the other. The span may be consumed: its elements change.
    // Errors: io (also: the peer reads no more), cancelled (after shut_down()).
    virtual Task<Result<void>> write(std::span<ConstBytes> parts) = 0;
    // Tells the peer that nothing more will be written, where the kind of stream has words for that
    // (TLS); elsewhere does nothing. Counts as a write, the last one. Errors: those of write().
    virtual Task<Result<void>> finish() { co_return Result<void>{}; }
    // Ends both directions at once, without waiting; what the peer has not got may be lost.
    // May be called at any time, more than once.
    virtual void shut_down() = 0;
    // Ends when the peer will send no more (also if what it sent is not read yet) or has hung up,
    // or after shut_down(). Beside the others; one at a time.
    virtual Task<void> hung_up() = 0;
    // For messages: who is at the other end.
    [[nodiscard]] virtual const std::string& peer() const = 0;
};

// Fills `into`. Errors: those of read_some(); io, if the peer ends before (`into.size()` not 0).
Task<Result<void>> read_exactly(Stream& stream, MutableBytes into);
// One part.
Task<Result<void>> write_all(Stream& stream, ConstBytes from);

}  // namespace stoa::io
