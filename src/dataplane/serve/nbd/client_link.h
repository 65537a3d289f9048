// The client's connection: many requests in flight, held and sent again when it is lost.
//
// A writer sends what waits, many requests with one call; a reader (client_replies.cc) takes the
// answers in any order. What the server sends is checked against what was asked: a cookie, a
// length or a chunk that is not as it must be ends the connection.
// Behaviour with servers that break every rule: client_hostile_test.cc.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "dataplane/io/sync.h"
#include "dataplane/serve/nbd/client_handshake.h"
#include "dataplane/serve/nbd/client_ledger.h"
#include "dataplane/serve/nbd/client_options.h"
#include "dataplane/serve/nbd/client_request.h"

namespace stoa::nbd {

class ClientLink {
public:
    // `wishes` holds the contexts in the order of ClientRequest::context.
    ClientLink(io::Executor& executor, std::unique_ptr<Connector> connector,
               const ClientOptions& options, ClientWishes wishes);
    ClientLink(const ClientLink&) = delete;
    ClientLink& operator=(const ClientLink&) = delete;
    ~ClientLink();  // CHECKs that close() has ended.

    // The first connection: no second attempt. close() follows in any case.
    io::Task<Result<void>> start();
    // Sends the request and waits for its answer; it ends within the request's time and the time
    // it may be held, whatever the server does. Errors: those that the server gives, io (the
    // server is away, or has come back with something else), cancelled (closing).
    io::Task<Result<void>> perform(ClientRequest& request);
    // What is in flight ends with `cancelled`; takes leave of the server.
    io::Task<void> close();

    [[nodiscard]] const Offer& offer() const { return offer_; }
    [[nodiscard]] ClientLedger& ledger() { return ledger_; }
    [[nodiscard]] bool is_connected() const { return connected_; }
    [[nodiscard]] uint64_t reconnections() const { return reconnections_; }

private:
    static constexpr size_t kReceiveBytes = 128 * 1024;
    class Receiving;

    io::Task<Result<void>> connect();
    io::Task<void> run();
    io::Task<void> pause(uint64_t duration_ns);
    io::Task<void> watch();
    [[nodiscard]] bool has_to_watch() const;
    void look_at_times();
    io::Task<void> write_requests();
    io::Task<void> take_leave();
    void take_batch(std::vector<ClientRequest*>& batch, std::vector<std::byte>& headers,
                    std::vector<ConstBytes>& parts);
    [[nodiscard]] Result<void> compare(const Offer& fresh) const;
    void break_connection(Error why);
    void lose();
    [[nodiscard]] bool is_away_too_long() const;
    [[nodiscard]] Error away() const;
    void enqueue(ClientRequest& request);
    void complete(ClientRequest& request, Result<void> result);
    void release(ClientRequest& request);

    // client_replies.cc
    io::Task<Result<void>> read_replies();
    io::Task<Result<void>> need(size_t bytes);
    io::Task<Result<void>> skip(uint64_t bytes);
    io::Task<Result<void>> fill(MutableBytes into);
    io::Task<Result<void>> take_simple_reply();
    io::Task<Result<void>> take_chunk();
    io::Task<Result<void>> take_content(ClientRequest& request, const ChunkHeader& header);
    io::Task<Result<void>> take_status(ClientRequest& request, const ChunkHeader& header);
    io::Task<Result<void>> take_error(ClientRequest& request, const ChunkHeader& header);
    Result<void> conclude(ClientRequest& request);
    Result<void> settle_error(ClientRequest& request);
    [[nodiscard]] ClientRequest* find(uint64_t cookie) const;
    [[nodiscard]] Error violation(std::string_view what) const;
    [[nodiscard]] const std::byte* here() const { return received_.data() + begin_; }

    io::Executor& executor_;
    const std::unique_ptr<Connector> connector_;
    const ClientOptions options_;
    const ClientWishes wishes_;
    const std::string name_;  // for messages

    Offer offer_;  // the first one
    std::vector<std::optional<uint32_t>> context_ids_;  // of this connection
    std::unique_ptr<io::Stream> stream_;
    io::Stream* in_use_ = nullptr;  // during the handshake too
    bool offered_ = false;
    bool structured_ = false;  // replies of this connection
    bool connected_ = false;
    bool broken_ = false;
    Error last_error_{ErrorCode::io, "never connected"};
    std::optional<Error> failed_;  // for ever
    uint64_t away_since_ns_ = 0;
    uint64_t connect_deadline_ns_ = 0;  // 0: none
    uint64_t close_deadline_ns_ = 0;
    uint64_t backoff_ns_ = 0;
    uint64_t reconnections_ = 0;
    bool closing_ = false;
    bool watched_ = true;  // false: the watch may end

    io::Semaphore permits_;
    std::vector<ClientRequest*> slots_;  // by the low bits of the cookie; nullptr: free
    std::vector<uint16_t> free_slots_;
    std::deque<ClientRequest*> to_send_;
    uint64_t next_sequence_ = 1;
    ClientLedger ledger_;

    std::vector<std::byte> received_;
    size_t begin_ = 0;  // what of it is not consumed yet
    size_t end_ = 0;

    io::Condition to_write_;
    io::Condition to_watch_;
    io::TaskGroup tasks_;
    io::TaskGroup watcher_;
};

}  // namespace stoa::nbd
