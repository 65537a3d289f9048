// Disk: a simulated device with a volatile write cache, random latencies, crashes and faults.
//
// A completed write is readable at once and durable only after a flush has completed that was
// submitted after the write had completed. What a loss of power leaves: medium.h.
// Everything random follows from the seed. Tests: disk_test.cc.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/io/device.h"
#include "dataplane/io/sim/medium.h"
#include "dataplane/io/sim/simulator.h"

namespace stoa::io::sim {

struct Latency {
    uint64_t transfer_min_ns = 10'000;  // reads, writes, discards
    uint64_t transfer_max_ns = 200'000;
    uint64_t flush_min_ns = 50'000;
    uint64_t flush_max_ns = 500'000;
    double slow_chance = 0.002;  // of an operation that takes slow_ns more
    uint64_t slow_ns = 20'000'000;
    // All operations take 1 us and end in the order of submission; the above does not count.
    bool in_order = false;
};

struct DiskOptions {
    std::string name = "disk";
    uint64_t seed = 0;  // 0: drawn from the simulator
    Latency latency{};
};

enum class FaultKind : uint8_t {
    error,        // any operation fails; of a write any sectors are done, of a flush any writes
    bit_flip,     // one bit of what a read returns, or of what a write stores
    lost,         // a write or flush is acknowledged, and not done
    misdirected,  // a write goes to, a read comes from another place
    stale,        // a read returns what stood there in the image given to keep_stale()
    delay,        // the operation takes delay_ns more
};

// Which operations are hit, and how. The default: every one of that kind.
struct Fault {
    FaultKind kind = FaultKind::error;
    DeviceOp op = DeviceOp::read;
    uint64_t offset_bytes = 0;  // only operations that touch this range (not for flushes)
    uint64_t length_bytes = ~uint64_t{0};
    double chance = 1;              // of each that does
    uint64_t skip = 0;              // so many of those are spared first
    uint64_t count = ~uint64_t{0};  // then so many are hit
    int error = 5;                  // EIO
    uint64_t delay_ns = 30'000'000'000;
    std::optional<uint64_t> target_bytes = std::nullopt;  // misdirected: this page; else any other
    bool healed_by_write = false;  // a write that covers the whole range ends the fault
};

// For the index of a fault that was added.
enum class FaultId : uint64_t {};

enum class DiskEventKind : uint8_t {
    write_submitted,
    write_completed,
    flush_submitted,
    flush_completed,
    discard_completed,
};

class Disk;

struct DiskEvent {
    DiskEventKind kind;
    const Disk& disk;
    uint64_t number;  // of this event of this disk, from 1
    int error;  // of a completion
    const Write* write;  // as it was requested, null for flushes; borrowed until return or kill()
    uint64_t completed;  // write_completed: its number; flush: the writes up to it are covered
};

struct DiskCounters {
    uint64_t reads = 0;
    uint64_t writes = 0;
    uint64_t flushes = 0;
    uint64_t discards = 0;
    uint64_t read_bytes = 0;
    uint64_t written_bytes = 0;
    uint64_t errors = 0;  // requests that ended with one
};

// Does not move. `simulator` outlives it. Requests still pending when it is destroyed are never
// resumed: kill() it and let the simulator run first.
class Disk final : public Device {
public:
    using Observer = std::function<void(const DiskEvent&)>;

    Disk(Simulator& simulator, DiskOptions options, Medium medium);
    Disk(const Disk&) = delete;
    Disk& operator=(const Disk&) = delete;
    ~Disk() override;

    // Buffers are aligned to 512 bytes, ranges are not empty: CHECKed, as a real disk demands it.
    // EIO beyond the end.
    void submit(DeviceRequest& request) override;
    [[nodiscard]] uint64_t size_bytes() const override { return size_bytes_; }
    [[nodiscard]] const std::string& name() const override { return options_.name; }
    Result<uint64_t> refresh_size() override;
    // From outside; seen by the user after refresh_size(), except that what is cut off is gone.
    void resize(uint64_t size_bytes) { medium_.resize(size_bytes); }

    // Crashes. These only look; the disk goes on until kill().
    [[nodiscard]] Image crash_image(const CrashPolicy& policy) const;
    [[nodiscard]] Medium process_crash(uint64_t seed) const;
    // Ends everything: pending and new requests answer ENODEV, nothing changes any more, and no
    // event is reported. May be called by an observer.
    void kill();
    [[nodiscard]] bool is_gone() const { return gone_; }
    // A device that had vanished returns, with the content it had or with an older one.
    void come_back() { gone_ = false; }
    void come_back(Medium medium);

    [[nodiscard]] const Medium& medium() const { return medium_; }
    [[nodiscard]] const Image& image() const { return medium_.visible(); }
    [[nodiscard]] size_t in_flight_count() const { return in_flight_.size(); }

    // Faults.
    FaultId add_fault(Fault fault);
    void remove_fault(FaultId id);
    void clear_faults();
    // How often it has struck, also after it was removed.
    [[nodiscard]] uint64_t struck(FaultId id) const;
    void keep_stale(Image image) { stale_ = std::move(image); }
    // Damage at rest.
    void flip_bit(uint64_t offset_bytes, unsigned bit) { medium_.flip_bit(offset_bytes, bit); }
    void damage(uint64_t offset_bytes, ConstBytes content) {
        medium_.damage(offset_bytes, content);
    }

    // Called at each write and flush, in the order of addition, from inside submit() or before the
    // request is resumed. It may look and kill(), and must not submit.
    void add_observer(Observer observer) { observers_.push_back(std::move(observer)); }
    // Events so far.
    [[nodiscard]] uint64_t events() const { return events_; }
    [[nodiscard]] const DiskCounters& counters() const { return counters_; }
    // The first misuse by the disk's user: a buffer changed while its write was in flight.
    [[nodiscard]] const std::optional<std::string>& violation() const { return violation_; }

private:
    struct Operation final : Continuation {
        explicit Operation(Disk& owner) : disk(owner) {}
        void resume() override { disk.finish(*this); }

        Disk& disk;
        DeviceRequest* request = nullptr;
        Write requested;  // write, discard: what was asked for
        Write stored;  // and what is done, where a fault makes it differ
        bool has_stored = false;
        uint64_t covers = 0;  // flush
        // What the faults decided.
        int error = 0;
        bool lost = false;
        bool flip = false;
        bool stale = false;
        uint64_t source_bytes = 0;  // read: where the content comes from
        uint64_t delay_ns = 0;

        [[nodiscard]] const Write& effective() const { return has_stored ? stored : requested; }
    };
    struct ArmedFault {
        Fault fault;
        uint64_t matched = 0;
        uint64_t struck = 0;
        bool active = true;
    };

    Operation& take_operation(DeviceRequest& request);
    void recycle(Operation& operation);
    [[nodiscard]] uint64_t latency_ns(DeviceOp op);
    void apply_faults(Operation& operation);
    void strike(const Fault& fault, Operation& operation);
    void heal(const Write& write);
    uint64_t other_place(const Fault& fault, const DeviceRequest& request);
    void prepare_discard(Operation& operation);
    void finish(Operation& operation);
    void finish_read(Operation& operation);
    uint64_t finish_write(Operation& operation);
    void finish_flush(Operation& operation);
    void notify(DiskEventKind kind, int error, const Write* write, uint64_t completed);
    [[nodiscard]] std::vector<const Write*> writes_in_flight() const;

    Simulator& simulator_;
    DiskOptions options_;
    Random random_;
    Medium medium_;
    Image stale_;
    uint64_t size_bytes_;
    bool gone_ = false;
    uint64_t last_due_ns_ = 0;  // in order: of the operation submitted last
    std::vector<Operation*> in_flight_;  // by submission
    std::deque<Operation> operations_;  // all ever made; do not move
    std::vector<Operation*> unused_;
    std::vector<ArmedFault> faults_;
    bool has_faults_ = false;
    std::vector<Observer> observers_;
    uint64_t events_ = 0;
    DiskCounters counters_;
    std::optional<std::string> violation_;
};

}  // namespace stoa::io::sim
