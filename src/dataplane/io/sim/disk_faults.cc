// The faults of a simulated disk: which operation is hit, and what then happens to it.
#include <algorithm>

#include "base/check.h"
#include "dataplane/io/sim/disk.h"

namespace stoa::io::sim {

FaultId Disk::add_fault(Fault fault) {
    CHECK(fault.op != DeviceOp::discard || fault.kind == FaultKind::error ||
          fault.kind == FaultKind::delay || fault.kind == FaultKind::lost);
    CHECK(fault.op != DeviceOp::flush || fault.kind == FaultKind::error ||
          fault.kind == FaultKind::delay || fault.kind == FaultKind::lost);
    CHECK(fault.kind != FaultKind::lost || fault.op != DeviceOp::read);
    CHECK(fault.kind != FaultKind::stale || fault.op == DeviceOp::read);
    faults_.push_back({.fault = fault});
    has_faults_ = true;
    return FaultId{faults_.size() - 1};
}

void Disk::remove_fault(FaultId id) {
    faults_[static_cast<size_t>(id)].active = false;
    has_faults_ = std::ranges::any_of(faults_, &ArmedFault::active);
}

void Disk::clear_faults() {
    for (ArmedFault& armed : faults_) armed.active = false;
    has_faults_ = false;
}

uint64_t Disk::struck(FaultId id) const { return faults_[static_cast<size_t>(id)].struck; }

namespace {

bool matches(const Fault& fault, const DeviceRequest& request) {
    if (fault.op != request.op) return false;
    if (request.op == DeviceOp::flush) return true;
    const uint64_t end = request.offset_bytes + request.length_bytes;
    return end > fault.offset_bytes &&
           (request.offset_bytes <= fault.offset_bytes ||
            request.offset_bytes - fault.offset_bytes < fault.length_bytes);
}

}  // namespace

void Disk::apply_faults(Operation& operation) {
    for (ArmedFault& armed : faults_) {
        const Fault& fault = armed.fault;
        if (!armed.active || !matches(fault, *operation.request)) continue;
        if (armed.matched++ < fault.skip || armed.struck >= fault.count) continue;
        if (!random_.chance(fault.chance)) continue;
        ++armed.struck;
        strike(fault, operation);
    }
}

void Disk::strike(const Fault& fault, Operation& operation) {
    const DeviceRequest& request = *operation.request;
    switch (fault.kind) {
        case FaultKind::error: operation.error = fault.error; break;
        case FaultKind::lost: operation.lost = true; break;
        case FaultKind::stale: operation.stale = true; break;
        case FaultKind::delay: operation.delay_ns += fault.delay_ns; break;
        case FaultKind::bit_flip:
            if (request.op == DeviceOp::read) {
                operation.flip = true;
            } else {
                AlignedBuffer damaged(request.length_bytes);
                std::copy_n(request.data, request.length_bytes, damaged.data());
                damaged.bytes()[random_.below(damaged.size())] ^= std::byte{1} << random_.below(8);
                operation.stored = Write::of(operation.effective().offset_bytes, damaged.bytes());
                operation.has_stored = true;
            }
            break;
        case FaultKind::misdirected:
            operation.source_bytes = other_place(fault, request);
            if (request.op == DeviceOp::write) {
                operation.stored = operation.effective();
                operation.stored.move_to(operation.source_bytes);
                operation.has_stored = true;
            }
            break;
    }
}

// A place for the whole request with the same offset within a page, another one if there is one.
uint64_t Disk::other_place(const Fault& fault, const DeviceRequest& request) {
    const uint64_t within = request.offset_bytes % kPageBytes;
    const uint64_t size_bytes = medium_.visible().size_bytes();
    if (fault.target_bytes) {
        const uint64_t target = *fault.target_bytes / kPageBytes * kPageBytes + within;
        CHECK(target + request.length_bytes <= size_bytes);
        return target;
    }
    const uint64_t places = (size_bytes - within - request.length_bytes) / kPageBytes + 1;
    const uint64_t own = request.offset_bytes / kPageBytes;
    if (places == 1) return request.offset_bytes;
    const uint64_t page = (own + 1 + random_.below(places - 1)) % places;
    return page * kPageBytes + within;
}

void Disk::heal(const Write& write) {
    for (size_t i = 0; i < faults_.size(); ++i) {
        const Fault& fault = faults_[i].fault;
        if (faults_[i].active && fault.healed_by_write &&
            write.length_bytes >= fault.length_bytes && write.offset_bytes <= fault.offset_bytes &&
            fault.offset_bytes - write.offset_bytes <= write.length_bytes - fault.length_bytes) {
            remove_fault(FaultId{i});
        }
    }
}

}  // namespace stoa::io::sim
