// The origins of the daemon: NBD exports that volumes take absent blocks from.
//
// An origin is remembered with its size, so that pools can be opened and volumes served while its
// server is away: who reads an absent block then waits (kOriginHoldNs), and gets an I/O error after
// that. What an origin holds must never change; that is the duty of who serves it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "dataplane/block/volume.h"
#include "dataplane/io/reactor.h"
#include "dataplane/io/sync.h"
#include "dataplane/serve/nbd/client.h"
#include "dataplane/service/events.h"
#include "dataplane/service/state.h"
#include "rpc/blockd.h"

namespace stoa::service {

constexpr uint64_t kOriginHoldNs = 60'000'000'000;

// One of them, connected or not. close() has ended before it is destroyed.
class Origin final : public block::Volume {
public:
    Origin(io::Reactor& reactor, OriginRecord record, Events& events);
    Origin(const Origin&) = delete;
    Origin& operator=(const Origin&) = delete;
    ~Origin() override;

    // Connects once; the record gets the size. Errors: those of NbdClient::open and of the files.
    io::Task<Result<void>> open();
    // From now on connects by itself and tells when the connection is lost.
    void start();
    // What runs ends with `cancelled`; nothing reaches the server any more.
    io::Task<void> close();

    [[nodiscard]] const OriginRecord& record() const { return record_; }
    [[nodiscard]] bool is_connected() const;
    [[nodiscard]] const std::string& error() const { return error_; }

    [[nodiscard]] uint64_t size_bytes() const override { return record_.size_bytes; }
    [[nodiscard]] bool read_only() const override { return true; }
    io::Task<Result<void>> read(uint64_t offset_bytes, MutableBytes into) override;
    io::Task<Result<void>> write(uint64_t offset_bytes, ConstBytes from,
                                 block::WriteOptions options) override;
    io::Task<Result<void>> flush() override;
    io::Task<Result<void>> discard(uint64_t offset_bytes, uint64_t length_bytes) override;
    io::Task<Result<void>> write_zeroes(uint64_t offset_bytes, uint64_t length_bytes,
                                        block::ZeroOptions options) override;
    io::Task<Result<std::vector<block::Extent>>> extents(uint64_t offset_bytes,
                                                         uint64_t length_bytes,
                                                         size_t extents_max) override;

private:
    io::Task<void> keep_connected();
    // The client, once there is one. Errors: io, cancelled.
    io::Task<Result<nbd::NbdClient*>> client();
    void note(bool connected, const std::string& why);

    io::Reactor& reactor_;
    OriginRecord record_;
    Events& events_;
    std::unique_ptr<io::TlsContext> tls_;
    std::unique_ptr<nbd::NbdClient> client_;
    std::string error_;
    io::Condition tried_;
    io::TaskGroup running_;
    bool was_connected_ = false;
    bool closing_ = false;
};

class Origins {
public:
    // Who still asks an origin, for messages: volumes and snapshots of open pools.
    using Users = std::function<std::vector<std::string>(const Uuid& origin)>;

    Origins(io::Reactor& reactor, StateFile& state, Events& events, Users users);
    Origins(const Origins&) = delete;
    Origins& operator=(const Origins&) = delete;
    ~Origins();

    void start();
    // Ends what is asked of them. Those who hold one may call it until this is destroyed.
    io::Task<void> stop();

    // nullptr: unknown. Valid as long as this.
    [[nodiscard]] block::Volume* find(const Uuid& uuid) const;
    // Held while a volume that uses an origin is made, and while one is forgotten.
    io::Task<io::Mutex::Guard> lock();

    // Connects to see that it is there. Asked again with the same UUID and content it answers what
    // it answered. Errors: already_exists (the UUID, with another content), invalid_argument, and
    // those of NbdClient::open.
    io::Task<Result<rpc::OriginStatus>> create(rpc::OriginCreate request);
    // Errors: not_found, in_use (who asks it still).
    io::Task<Result<void>> remove(Uuid uuid);
    [[nodiscard]] Result<rpc::OriginStatus> status(const Uuid& uuid) const;
    [[nodiscard]] std::vector<rpc::OriginStatus> list() const;

private:
    io::Reactor& reactor_;
    StateFile& state_;
    Events& events_;
    const Users users_;
    std::map<Uuid, std::unique_ptr<Origin>> items_;
    std::vector<std::unique_ptr<Origin>> forgotten_;  // closed; work that ends may hold one still
    io::Mutex changing_;
    bool stopping_ = false;
};

}  // namespace stoa::service
