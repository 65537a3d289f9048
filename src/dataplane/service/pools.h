// The pools of the daemon: which there are, and those that are open.
//
// A pool that cannot be opened (devices away, owned by somebody else) stays listed with the reason
// and is tried again.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "dataplane/io/device_file.h"
#include "dataplane/io/shared_memory.h"
#include "dataplane/pool/pool.h"
#include "dataplane/service/events.h"
#include "dataplane/service/pool_use.h"
#include "dataplane/service/state.h"
#include "rpc/blockd.h"

namespace stoa::service {

struct PoolsOptions {
    uint64_t cache_bytes = uint64_t{256} << 20;  // of each pool
    uint64_t ring_bytes = uint64_t{8} << 20;     // of what is acknowledged and not flushed
    uint64_t retry_ns = 2'000'000'000;  // pools that could not be opened
    uint64_t lock_patience_ns = 5'000'000'000;  // for devices that somebody else has open
    std::string boot_id;  // of the host
};

class Pools {
public:
    // Where an open pool and what it stands on live; in this order.
    struct Open {
        std::vector<std::unique_ptr<io::DeviceFile>> devices;
        std::string ring_path;
        std::unique_ptr<io::SharedMemory> ring;  // nullptr: read-only
        std::unique_ptr<pool::Pool> pool;
    };

    // `ring_directory` lies on a tmpfs: it holds what was acknowledged and not flushed.
    Pools(io::Reactor& reactor, StateFile& state, Events& events, PoolsOptions options,
          std::string ring_directory, pool::OriginResolver origins);
    Pools(const Pools&) = delete;
    Pools& operator=(const Pools&) = delete;
    ~Pools();

    // Tries to open all that are remembered, now and again later; `opened` is called for each that
    // was opened.
    void start(std::function<void(const Uuid& pool)> opened);
    // Ends what start() began, and closes all pools. Errors: of a pool that must recover.
    io::Task<Result<void>> stop();
    // No attempts to open from now on.
    void stop_trying() { stopping_ = true; }

    // Asked again with the same UUID, name and devices it answers the same.
    // Errors: of the engine; already_exists (the name is taken, or the UUID by another one).
    io::Task<Result<Uuid>> create(rpc::PoolCreate request);
    io::Task<Result<Uuid>> open(rpc::PoolOpen request);
    // Closes and forgets it, in two parts: after the first, at once, nobody new gets it; the second
    // ends what still runs in it. Errors: busy (it is being opened, closed or changed); those of
    // StateFile::save() (it stays open) and of the engine.
    Result<void> begin_close(const Uuid& uuid);
    io::Task<Result<void>> finish_close(Uuid uuid);
    io::Task<Result<void>> add_device(Uuid uuid, rpc::PoolAddDevice request);
    // Takes notice of grown devices. Errors: io, invalid_argument.
    io::Task<Result<void>> grow(Uuid uuid);

    // By name or UUID; open or not. Errors: not_found.
    [[nodiscard]] Result<Uuid> find(std::string_view name_or_uuid) const;
    // Until the caller waits for anything. Errors: not_found; busy (it is not open: why).
    [[nodiscard]] Result<pool::Pool*> get(const Uuid& uuid) const;
    // For callers that wait meanwhile. Errors: the same.
    [[nodiscard]] Result<PoolUse> use(const Uuid& uuid);
    [[nodiscard]] rpc::PoolStatus status(const Uuid& uuid) const;
    [[nodiscard]] std::vector<Uuid> list() const;
    [[nodiscard]] const std::string& ring_directory() const { return ring_directory_; }
    // For messages.
    [[nodiscard]] std::string name(const Uuid& uuid) const;

private:
    struct Entry {
        PoolRecord record;
        std::unique_ptr<Open> open;
        std::string error;
        uint32_t uses = 0;
        bool busy = false;  // being opened or closed
        bool told_of_ring = false;  // that it is gone
        bool changing = false;  // gets a device
    };

    // Opens those that wait, and looks whether the rings of the others are still there.
    io::Task<void> keep_trying();
    void look_for_rings();
    io::Task<void> try_to_open(Uuid uuid);
    // The same; a last device that was remembered and not added any more is left out, if the others
    // are the whole pool.
    io::Task<Result<std::unique_ptr<Open>>> open_remembered(PoolRecord record);
    // What is to be remembered of a pool that was opened as `record` says: none of the devices may
    // be missing later if all are here. Tells of those that are missing and those left out.
    PoolRecord settled(PoolRecord record, const Open& open);
    io::Task<Result<std::unique_ptr<Open>>> open_record(PoolRecord record, bool accept_damaged);
    io::Task<Result<std::unique_ptr<io::DeviceFile>>> open_device(std::string path,
                                                                  io::DeviceFileOptions options);
    // With `force` a file that is to be made may be there as an unfinished creation leaves it; then
    // its create_bytes become 0.
    io::Task<Result<std::vector<std::unique_ptr<io::DeviceFile>>>> open_devices(
        std::vector<rpc::DeviceSpec>& specs, bool force);
    io::Task<Result<void>> make(Uuid uuid, rpc::PoolCreate request);
    // Errors: those of StateFile::save(); what was remembered before is remembered still.
    io::Task<Result<void>> remember(PoolRecord record);
    io::Task<Result<void>> change_devices(Uuid uuid, rpc::PoolAddDevice request);
    // The same, of a pool that was just opened: it is closed if that fails.
    io::Task<Result<void>> remember_open(PoolRecord record, std::unique_ptr<Open>& open);
    [[nodiscard]] Result<void> check_name(std::string_view name) const;
    // Errors: already_exists (it is another one), busy.
    static Result<void> check_same(const Entry& known, const rpc::PoolCreate& request);
    [[nodiscard]] std::string ring_path(const Uuid& uuid) const;
    // The one that this host has of it since it was last opened; nullptr: none.
    [[nodiscard]] const RingRecord* known_ring(const Uuid& uuid) const;
    // Opens the ring that is known, else a new one, and remembers it before anything is in it.
    // Errors: not_found (it should be there and is not, without `accept_lost`), those of
    // StateFile::save() and of the memory.
    io::Task<Result<void>> open_ring(PoolRecord record, Open& open, bool accept_lost);
    // Of a pool that was closed well: nothing is in it that is not in the devices.
    io::Task<void> remove_ring(Uuid uuid, std::string path);
    // true: closed so that its ring is not needed.
    static io::Task<Result<bool>> close_pool(pool::Pool& pool);
    static void remove_created(const std::vector<rpc::DeviceSpec>& specs, size_t count);

    io::Reactor& reactor_;
    StateFile& state_;
    Events& events_;
    const PoolsOptions options_;
    const pool::OriginResolver origins_;
    const std::string ring_directory_;
    std::function<void(const Uuid&)> opened_;
    std::map<Uuid, Entry> entries_;
    io::Condition use_ended_;
    io::TaskGroup trying_;
    bool stopping_ = false;
};

}  // namespace stoa::service
