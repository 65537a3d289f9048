// One client after the handshake (proto.md, "Transmission phase").
//
// A reader takes requests and starts each as a task of its own; a writer sends the answers that
// are ready, many with one call. Requests run beside each other and are answered as they end.
// In the steady state nothing is allocated for a small request.
//
// session.cc receives, dispatches and answers; session_read.cc is what reads and asks the map.
// Behaviour: session_test.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "dataplane/io/executor.h"
#include "dataplane/io/sync.h"
#include "dataplane/serve/nbd/buffers.h"
#include "dataplane/serve/nbd/counters.h"
#include "dataplane/serve/nbd/handshake.h"

namespace stoa::nbd {

class Session final : private BufferHolder {
public:
    // All references outlive the session. `number` tells connections apart in the trace.
    Session(io::Executor& executor, Negotiated negotiated, Buffers& buffers, Counters& counters,
            OperationTrace& trace, uint32_t number);
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    ~Session();

    // Until the client leaves, breaks the protocol or is cut off, and all its requests have ended.
    // Errors: why it did not leave orderly: io, invalid_argument.
    io::Task<Result<void>> run();
    // No request reaches the volume and no answer leaves any more; run() ends soon.
    void cut() override;
    // The client has hung up; what it asked for may still run, until run() ends.
    [[nodiscard]] bool is_gone() const { return gone_; }

private:
    static constexpr size_t kReceiveBytes = 128 * 1024;
    static constexpr size_t kInFlightMax = 256;
    static constexpr size_t kPartsMax = 64;  // of one send

    struct Operation;

    [[nodiscard]] uint64_t stuck_since_ns() const override { return stuck_since_ns_; }
    io::Task<void> watch_for_end();
    [[nodiscard]] block::Volume& volume() const { return use_->volume(); }
    io::Task<Result<void>> read_requests();
    io::Task<Result<void>> receive(size_t bytes_min);
    io::Task<Result<void>> take_payload(Operation& operation);
    io::Task<Result<void>> drop_payload(uint32_t length_bytes);
    io::Task<void> write_answers();
    // Empties `parts`.
    io::Task<void> send(std::vector<ConstBytes>& parts);
    io::Task<void> execute(Operation& operation);
    io::Task<Result<void>> perform(Operation& operation);
    io::Task<Result<void>> read(Operation& operation);
    io::Task<Result<void>> read_in_pieces(Operation& operation, bool& done);
    io::Task<Result<void>> read_piece(Operation& operation, uint64_t offset_bytes,
                                      size_t length_bytes, uint16_t flags);
    io::Task<Result<void>> status(Operation& operation);
    [[nodiscard]] size_t status_bytes_max(const Request& request) const;
    [[nodiscard]] static Error is_cut() { return {ErrorCode::cancelled, "cut off"}; }
    [[nodiscard]] WireError refusal(const Request& request) const;

    Operation& new_operation(const Request& request);
    void release(Operation& operation);
    void answer(Operation& operation);
    void answer_error(Operation& operation, WireError error, std::string_view text);
    void finish(Operation& operation, WireError error);

    io::Executor& executor_;
    const std::unique_ptr<io::Stream> stream_;
    Export& export_;
    const std::unique_ptr<ExportUse> use_;
    const std::vector<ChosenContext> contexts_;
    const uint64_t size_bytes_;
    const bool structured_;
    Buffers& buffers_;
    Buffers::Account account_;
    Counters& counters_;
    OperationTrace& trace_;
    const uint32_t number_;

    AlignedBuffer received_{kReceiveBytes};
    size_t begin_ = 0;  // what of it is not consumed yet
    size_t end_ = 0;

    std::vector<std::unique_ptr<Operation>> all_;
    std::vector<Operation*> unused_;
    std::vector<Operation*> ready_;  // answers not sent yet, in order
    io::TaskGroup running_;
    io::Condition answered_;  // an answer is ready, or no more will come
    io::Condition released_;
    uint64_t stuck_since_ns_ = 0;
    bool cut_ = false;
    bool gone_ = false;
    bool reads_no_more_ = false;  // cut, or gone: nobody waits to ask for more
    bool leaving_ = false;  // the reader has ended and nothing runs: the writer may end
};

}  // namespace stoa::nbd
