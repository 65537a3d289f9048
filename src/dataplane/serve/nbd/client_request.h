// One request of a client as it goes over the wire.
#pragma once

#include <algorithm>
#include <coroutine>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "dataplane/io/executor.h"
#include "dataplane/serve/nbd/wire.h"

namespace stoa::nbd {

[[nodiscard]] constexpr uint64_t round_up(uint64_t value, uint64_t grain) {
    return (value + grain - 1) / grain * grain;
}
[[nodiscard]] constexpr uint64_t round_down(uint64_t value, uint64_t grain) {
    return value / grain * grain;
}

// What a metadata context says of a range.
struct StatusRange {
    uint64_t offset_bytes = 0;
    uint64_t length_bytes = 0;
    uint32_t flags = 0;
    friend bool operator==(const StatusRange&, const StatusRange&) = default;
};

// Which bytes of a read have arrived. Chunks come in any order, but never twice.
class Coverage {
public:
    // False: some of it is there already, or the pieces are so many that only malice explains it.
    bool add(uint64_t begin, uint64_t end) {
        auto next = std::ranges::lower_bound(pieces_, begin, {}, &Piece::first);
        if (next != pieces_.end() && next->first < end) return false;
        if (next != pieces_.begin() && std::prev(next)->second > begin) return false;
        const bool joins_last = next != pieces_.begin() && std::prev(next)->second == begin;
        const bool joins_next = next != pieces_.end() && next->first == end;
        if (joins_last && joins_next) {
            std::prev(next)->second = next->second;
            pieces_.erase(next);
        } else if (joins_last) {
            std::prev(next)->second = end;
        } else if (joins_next) {
            next->first = begin;
        } else {
            if (pieces_.size() == kPiecesMax) return false;
            pieces_.insert(next, {begin, end});
        }
        return true;
    }
    [[nodiscard]] bool is_whole(uint64_t begin, uint64_t end) const {
        return pieces_.size() == 1 && pieces_.front() == Piece(begin, end);
    }
    void clear() { pieces_.clear(); }

private:
    using Piece = std::pair<uint64_t, uint64_t>;
    static constexpr size_t kPiecesMax = 4096;
    std::vector<Piece> pieces_;  // in order, apart from each other
};

// Lives in the frame that awaits its end; ClientLink points to it until then.
struct ClientRequest final : io::Continuation {
    Command command = Command::read;
    uint16_t flags = 0;
    uint64_t offset_bytes = 0;
    uint32_t length_bytes = 0;
    ConstBytes from;  // of a write
    MutableBytes into;  // of a read
    // Of a block status: the context's place in the wishes, and where to put what it says.
    size_t context = 0;
    size_t ranges_max = 0;
    std::vector<StatusRange>* ranges = nullptr;

    // What follows belongs to the link.
    std::coroutine_handle<> handle;
    Result<void> result;
    uint64_t cookie = 0;
    uint64_t sequence = 0;  // order of arrival
    uint64_t started_ns = 0;  // when the link took it
    uint64_t sent_ns = 0;  // when it was last sent
    bool sent = false;  // on this connection
    // While its buffers are lent to the stream it cannot end.
    bool sending = false;
    bool receiving = false;
    bool done = false;
    // The answer so far.
    Coverage coverage;
    uint32_t error = 0;  // WireError
    std::string error_text;
    uint64_t contexts_seen = 0;  // bits

    void forget_answer() {
        coverage.clear();
        error = 0;
        error_text.clear();
        contexts_seen = 0;
        if (ranges != nullptr) ranges->clear();
    }
    [[nodiscard]] uint64_t end_bytes() const { return offset_bytes + length_bytes; }

    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> suspended) { handle = suspended; }
    void await_resume() const noexcept {}
    void resume() override { handle.resume(); }
};

}  // namespace stoa::nbd
