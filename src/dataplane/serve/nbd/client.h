// An export of an NBD server as a volume. Specification: doc/proto.md of the NBD project.
//
// The connection: when it is lost, requests wait (ClientOptions::hold_ns) and are sent again on a
// new one; all of them may be done twice. That needs a server that is done with the requests of a
// lost connection before it serves a new one; otherwise an old write could land after a newer one.
// What it acknowledged and had not flushed, a server that was killed may have forgotten: unless it
// is known to keep it (server_keeps_acknowledged), the next flush fails once with `io` (or a write
// that is made durable by one).
// An export that comes back with another size or name, or without something that it had (also a
// context), is another one: every request fails from then on. A server that wants its volumes to
// be told apart has a context that names each.
//
// Behaviour with a scripted server: client_test.cc; with hostile ones: client_hostile_test.cc; with
// those that others wrote, killed under load: tests/foreign.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "dataplane/block/volume.h"
#include "dataplane/io/reactor.h"
#include "dataplane/io/sync.h"
#include "dataplane/serve/nbd/client_options.h"
#include "dataplane/serve/nbd/client_request.h"

namespace stoa::nbd {

class ClientLink;

// Lives on one executor. close() has ended before it is destroyed.
// Where the server's blocks are bigger than 512 bytes, the edges of a write are read and written
// again, and nothing else is written meanwhile.
class NbdClient final : public block::Volume {
public:
    // Tries once. Errors: io (no server there, or one that breaks the protocol), not_found (no such
    // socket or export), read_only (the export is, and the options are not), unsupported (an old
    // server; a size that is no multiple of its blocks or of 512), invalid_argument (options; TLS
    // is wanted by one side only), busy (no answer in time).
    static io::Task<Result<std::unique_ptr<NbdClient>>> open(io::Reactor& reactor,
                                                             ClientOptions options);
    // Over connections made elsewhere; the address is for messages.
    static io::Task<Result<std::unique_ptr<NbdClient>>> open(io::Executor& executor,
                                                             std::unique_ptr<Connector> connector,
                                                             ClientOptions options);
    NbdClient(const NbdClient&) = delete;
    NbdClient& operator=(const NbdClient&) = delete;
    ~NbdClient() override;

    [[nodiscard]] uint64_t size_bytes() const override;
    [[nodiscard]] bool read_only() const override;

    io::Task<Result<void>> read(uint64_t offset_bytes, MutableBytes into) override;
    // Durable at once: if the server has no such flag, by a flush afterwards.
    io::Task<Result<void>> write(uint64_t offset_bytes, ConstBytes from,
                                 block::WriteOptions options) override;
    // A server that has no flush is taken to have nothing to flush.
    io::Task<Result<void>> flush() override;
    // A wish only, as in NBD: what is read afterwards is not known. Nothing happens if the server
    // has no such command.
    io::Task<Result<void>> discard(uint64_t offset_bytes, uint64_t length_bytes) override;
    // By writes, if the server has no such command.
    io::Task<Result<void>> write_zeroes(uint64_t offset_bytes, uint64_t length_bytes,
                                        block::ZeroOptions options) override;
    // hole: the server says that it reads zero; data: everything else, and all if it says nothing.
    io::Task<Result<std::vector<block::Extent>>> extents(uint64_t offset_bytes,
                                                         uint64_t length_bytes,
                                                         size_t extents_max) override;
    // What a context of the options says, in order, gapless from offset_bytes; possibly less than
    // the whole range. Errors: unsupported (the server does not know the context), those of read().
    io::Task<Result<std::vector<StatusRange>>> changed(std::string context, uint64_t offset_bytes,
                                                       uint64_t length_bytes, size_t ranges_max);
    [[nodiscard]] bool has_context(std::string_view context) const;

    // What runs ends with `cancelled`, soon (a connect that runs: within its time). What was
    // acknowledged and not flushed is left to the server. Call once.
    io::Task<void> close();

    [[nodiscard]] bool is_connected() const;
    [[nodiscard]] uint64_t reconnections() const;

private:
    // Counts what close() waits for.
    class Running {
    public:
        explicit Running(NbdClient& client) : client_(client) { ++client_.running_; }
        Running(const Running&) = delete;
        Running& operator=(const Running&) = delete;
        ~Running() {
            if (--client_.running_ == 0) client_.idle_.notify_all();
        }

    private:
        NbdClient& client_;
    };
    class Exclusion;
    struct Transfer;

    NbdClient(io::Executor& executor, ClientOptions options, std::vector<std::string> contexts);
    [[nodiscard]] Result<void> check(uint64_t offset_bytes, uint64_t length_bytes,
                                     bool changes) const;
    [[nodiscard]] bool has(uint16_t flag) const;
    [[nodiscard]] uint16_t fua_flag(bool force_unit_access) const;
    io::Task<Result<void>> transfer(Transfer what);
    io::Task<void> transfer_pieces(Transfer& what);
    io::Task<Result<void>> transfer_one(const Transfer& what, uint64_t offset_bytes,
                                        uint32_t length_bytes);
    io::Task<Result<void>> read_edge(uint64_t offset_bytes, MutableBytes into);
    io::Task<Result<void>> write_edge(uint64_t offset_bytes, ConstBytes from, uint16_t flags);
    io::Task<Result<void>> write_any(uint64_t offset_bytes, ConstBytes from, uint16_t flags);
    io::Task<Result<void>> zero_whole(uint64_t begin, uint64_t end, uint16_t flags);
    io::Task<Result<void>> zero_by_writing(uint64_t begin, uint64_t end, uint16_t flags);
    io::Task<Result<void>> flush_server();
    io::Task<Result<std::vector<StatusRange>>> status(size_t context, uint64_t offset_bytes,
                                                      uint64_t length_bytes, size_t ranges_max);

    io::Executor& executor_;
    const ClientOptions options_;
    const std::vector<std::string> contexts_;  // base:allocation first
    std::unique_ptr<ClientLink> link_;
    uint32_t grain_bytes_ = 512;  // what requests are multiples of
    uint32_t piece_bytes_ = 0;  // of a request, a multiple of the grain
    uint64_t running_ = 0;
    bool closing_ = false;
    io::Condition idle_;
    // Of Exclusion.
    uint64_t writing_ = 0;
    uint64_t waiting_to_merge_ = 0;
    bool merging_ = false;
    io::Condition written_;
};

}  // namespace stoa::nbd
