#include "dataplane/io/sim/disk.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/check.h"

namespace stoa::io::sim {

Disk::Disk(Simulator& simulator, DiskOptions options, Medium medium)
    : simulator_(simulator), options_(std::move(options)),
      random_(options_.seed != 0 ? options_.seed : simulator.random()), medium_(std::move(medium)),
      stale_(medium_.visible()), size_bytes_(medium_.visible().size_bytes()) {}

Disk::~Disk() {
    for (Operation* operation : in_flight_) simulator_.cancel(*operation);
}

Result<uint64_t> Disk::refresh_size() {
    if (gone_) return Error(ErrorCode::io, "device " + options_.name + ": is gone", ENODEV);
    size_bytes_ = medium_.visible().size_bytes();
    return size_bytes_;
}

Disk::Operation& Disk::take_operation(DeviceRequest& request) {
    Operation* operation;
    if (unused_.empty()) {
        operation = &operations_.emplace_back(*this);
    } else {
        operation = unused_.back();
        unused_.pop_back();
    }
    operation->request = &request;
    operation->source_bytes = request.offset_bytes;
    return *operation;
}

void Disk::recycle(Operation& operation) {
    std::erase(in_flight_, &operation);
    operation.request = nullptr;
    operation.requested.pages.clear();
    operation.stored.pages.clear();
    operation.has_stored = false;
    operation.covers = 0;
    operation.error = 0;
    operation.lost = operation.flip = operation.stale = false;
    operation.delay_ns = 0;
    unused_.push_back(&operation);
}

uint64_t Disk::latency_ns(DeviceOp op) {
    const Latency& latency = options_.latency;
    if (latency.in_order) return 1000;
    uint64_t result = op == DeviceOp::flush
                          ? random_.between(latency.flush_min_ns, latency.flush_max_ns)
                          : random_.between(latency.transfer_min_ns, latency.transfer_max_ns);
    if (random_.chance(latency.slow_chance)) result += latency.slow_ns;
    return result;
}

void Disk::submit(DeviceRequest& request) {
    const bool transfers = request.op == DeviceOp::read || request.op == DeviceOp::write;
    if (request.op != DeviceOp::flush) {
        CHECK(request.offset_bytes % kSectorBytes == 0);
        CHECK(request.length_bytes % kSectorBytes == 0 && request.length_bytes > 0);
    }
    if (transfers) CHECK(reinterpret_cast<uintptr_t>(request.data) % kSectorBytes == 0);
    const uint64_t size_bytes = medium_.visible().size_bytes();
    const bool inside = request.op == DeviceOp::flush ||
                        (request.length_bytes <= size_bytes &&
                         request.offset_bytes <= size_bytes - request.length_bytes);
    if (gone_ || !inside) {
        request.error = gone_ ? ENODEV : EIO;
        ++counters_.errors;
        simulator_.post(request);
        return;
    }

    Operation& operation = take_operation(request);
    const uint64_t latency = latency_ns(request.op);
    switch (request.op) {
        case DeviceOp::read: break;
        case DeviceOp::write:
            operation.requested =
                Write::of(request.offset_bytes, {request.data, request.length_bytes});
            break;
        case DeviceOp::flush: operation.covers = medium_.completed(); break;
        case DeviceOp::discard: prepare_discard(operation); break;
    }
    if (has_faults_) apply_faults(operation);
    uint64_t due_ns = simulator_.now_ns() + latency;
    if (options_.latency.in_order) due_ns = last_due_ns_ = std::max(due_ns, last_due_ns_);
    in_flight_.push_back(&operation);
    simulator_.post_at(due_ns + operation.delay_ns, operation);
    // The observer may kill the disk: `operation` is not touched after it.
    if (request.op == DeviceOp::write) {
        notify(DiskEventKind::write_submitted, 0, &operation.requested, 0);
    } else if (request.op == DeviceOp::flush) {
        notify(DiskEventKind::flush_submitted, 0, nullptr, operation.covers);
    }
}

// The content after a discard is undefined: zero, as before, or garbage in its first page.
void Disk::prepare_discard(Operation& operation) {
    const DeviceRequest& request = *operation.request;
    operation.requested.offset_bytes = request.offset_bytes;
    operation.requested.length_bytes = request.length_bytes;
    const uint64_t what = random_.below(3);
    if (what == 1) operation.lost = true;
    if (what == 2) {
        AlignedBuffer garbage(std::min(request.length_bytes, kPageBytes));
        const uint64_t word = random_.next();
        for (size_t at = 0; at < garbage.size(); at += sizeof word) {
            store_le(garbage.data() + at, word + at);
        }
        operation.requested = Write::of(request.offset_bytes, garbage.bytes());
    }
}

void Disk::finish(Operation& operation) {
    DeviceRequest& request = *operation.request;
    const int error = operation.error;
    request.error = error;
    if (error != 0) ++counters_.errors;
    simulator_.trace(mix(request.offset_bytes + static_cast<uint64_t>(request.op)) +
                     mix(request.length_bytes + static_cast<uint64_t>(error)));
    uint64_t number = 0;
    switch (request.op) {
        case DeviceOp::read: finish_read(operation); break;
        case DeviceOp::write: number = finish_write(operation); break;
        case DeviceOp::flush: finish_flush(operation); break;
        case DeviceOp::discard:
            ++counters_.discards;
            if (error == 0 && !operation.lost) medium_.complete(operation.requested);
            break;
    }
    const Write requested = std::move(operation.requested);
    const uint64_t covers = operation.lost ? 0 : operation.covers;
    recycle(operation);
    switch (request.op) {
        case DeviceOp::read: break;
        case DeviceOp::write:
            notify(DiskEventKind::write_completed, error, &requested, number);
            break;
        case DeviceOp::flush: notify(DiskEventKind::flush_completed, error, nullptr, covers); break;
        case DeviceOp::discard:
            notify(DiskEventKind::discard_completed, error, &requested, 0);
            break;
    }
    request.resume();
}

void Disk::finish_read(Operation& operation) {
    DeviceRequest& request = *operation.request;
    const MutableBytes into{request.data, request.length_bytes};
    ++counters_.reads;
    counters_.read_bytes += into.size();
    const Image& image = operation.stale ? stale_ : medium_.visible();
    const uint64_t size_bytes = image.size_bytes();
    const bool inside =
        into.size() <= size_bytes && operation.source_bytes <= size_bytes - into.size();
    if (operation.error != 0 || !inside) {
        // What a failed read leaves in the buffer is not to be used.
        std::memset(into.data(), 0xee, into.size());
        if (request.error == 0) {
            request.error = EIO;
            ++counters_.errors;
        }
        return;
    }
    image.read(operation.source_bytes, into);
    if (operation.flip) {
        into[random_.below(into.size())] ^= std::byte{1} << random_.below(8);
    }
    if (into.size() >= sizeof(uint64_t)) simulator_.trace(load_le<uint64_t>(into.data()));
}

// The number of the write in the order of completions.
uint64_t Disk::finish_write(Operation& operation) {
    const DeviceRequest& request = *operation.request;
    ++counters_.writes;
    counters_.written_bytes += request.length_bytes;
    if (!violation_ && !operation.requested.equals({request.data, request.length_bytes})) {
        violation_ = "device " + options_.name + ": the buffer of a write of " +
                     std::to_string(request.length_bytes) + " bytes at " +
                     std::to_string(request.offset_bytes) + " changed while it was in flight";
    }
    simulator_.trace(load_le<uint64_t>(request.data));
    if (operation.error != 0) {
        medium_.complete_torn(operation.effective(), random_);
        return 0;
    }
    if (operation.lost) return medium_.skip_number();
    if (has_faults_) heal(operation.effective());
    return medium_.complete(operation.effective()).number;
}

void Disk::finish_flush(Operation& operation) {
    ++counters_.flushes;
    if (operation.error != 0) medium_.fail_flush(operation.covers, random_);
    else if (!operation.lost) medium_.make_durable(operation.covers);
}

void Disk::notify(DiskEventKind kind, int error, const Write* write, uint64_t completed) {
    const DiskEvent event{kind, *this, ++events_, error, write, completed};
    for (const Observer& observer : observers_) {
        if (gone_) return;
        observer(event);
    }
}

std::vector<const Write*> Disk::writes_in_flight() const {
    std::vector<const Write*> writes;
    for (const Operation* operation : in_flight_) {
        const DeviceOp op = operation->request->op;
        if ((op == DeviceOp::write || op == DeviceOp::discard) && !operation->lost) {
            writes.push_back(&operation->effective());
        }
    }
    return writes;
}

Image Disk::crash_image(const CrashPolicy& policy) const {
    return medium_.crash(policy, writes_in_flight());
}

Medium Disk::process_crash(uint64_t seed) const {
    return medium_.process_crash(seed, writes_in_flight());
}

void Disk::kill() {
    gone_ = true;
    const std::vector<Operation*> ended = in_flight_;
    for (Operation* operation : ended) {
        DeviceRequest& request = *operation->request;
        simulator_.cancel(*operation);
        recycle(*operation);
        request.error = ENODEV;
        ++counters_.errors;
        simulator_.post(request);
    }
}

void Disk::come_back(Medium medium) {
    CHECK(gone_);
    medium_ = std::move(medium);
    size_bytes_ = medium_.visible().size_bytes();
    gone_ = false;
}

}  // namespace stoa::io::sim
