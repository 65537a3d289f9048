// Requests: what happens to a device that is open. Opening is in device_file_open.cc.
//
// While a request is in the kernel, its `error` counts the sectors transferred so far, so that a
// short transfer goes on where it stopped without memory of its own.
#include "dataplane/io/device_file.h"

#include <fcntl.h>
#include <liburing.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "base/check.h"

namespace stoa::io {

namespace {

constexpr uint64_t kSectorBytes = 512;
constexpr uint64_t kLengthBytesMax = uint64_t{1} << 40;
// A request that is not complete has at least one sector to go.
static_assert(kLengthBytesMax / kSectorBytes - 1 <= uint64_t{std::numeric_limits<int>::max()});

bool is_transfer(const DeviceRequest& request) {
    return request.op == DeviceOp::read || request.op == DeviceOp::write;
}

uint64_t done_bytes(const DeviceRequest& request) {
    return static_cast<uint64_t>(request.error) * kSectorBytes;
}

}  // namespace

DeviceFile::~DeviceFile() {
    CHECK(in_flight_ == 0 && waiting_.empty());
    reactor_.remove_client(client_);
}

void DeviceFile::submit(DeviceRequest& request) {
    request.error = refusal(request);
    const bool nothing_to_do = request.op != DeviceOp::flush && request.length_bytes == 0;
    if (request.error != 0 || nothing_to_do) {
        reactor_.post(request);
    } else if (in_flight_ < options_.in_flight_max) {
        ++in_flight_;
        enter(request);
    } else {
        waiting_.push(request);
    }
}

int DeviceFile::refusal(const DeviceRequest& request) const {
    if (request.op == DeviceOp::flush) return 0;
    CHECK(request.offset_bytes % kSectorBytes == 0 && request.length_bytes % kSectorBytes == 0 &&
          request.length_bytes <= kLengthBytesMax);
    if (direct_ && is_transfer(request)) {
        CHECK(reinterpret_cast<uintptr_t>(request.data) % kSectorBytes == 0);
    }
    if (options_.read_only && request.op != DeviceOp::read) return EROFS;
    const bool fits = request.length_bytes <= size_bytes_ &&
                      request.offset_bytes <= size_bytes_ - request.length_bytes;
    return fits ? 0 : EIO;
}

// Puts `request`, or what is left of it, into the ring.
void DeviceFile::enter(DeviceRequest& request) {
    io_uring_sqe& entry = reactor_.next_entry();
    const uint64_t done = is_transfer(request) ? done_bytes(request) : 0;
    const auto piece = static_cast<unsigned>(
        std::min<uint64_t>(request.length_bytes - done, options_.transfer_bytes_max));
    switch (request.op) {
        case DeviceOp::read:
            io_uring_prep_read(&entry, file_.get(), request.data + done, piece,
                               request.offset_bytes + done);
            break;
        case DeviceOp::write:
            io_uring_prep_write(&entry, file_.get(), request.data + done, piece,
                                request.offset_bytes + done);
            break;
        case DeviceOp::flush:
            io_uring_prep_fsync(&entry, file_.get(), IORING_FSYNC_DATASYNC);
            break;
        case DeviceOp::discard:
            io_uring_prep_fallocate(&entry, file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                    static_cast<off_t>(request.offset_bytes),
                                    static_cast<off_t>(request.length_bytes));
            break;
    }
    io_uring_sqe_set_data64(&entry, Reactor::tag(client_, static_cast<void*>(&request)));
}

void DeviceFile::complete(void* item, int result) {
    auto& request = *static_cast<DeviceRequest*>(item);
    if (result == -EINTR || result == -EAGAIN) return enter(request);
    if (result < 0) {
        const bool advice_refused =
            request.op == DeviceOp::discard && (result == -EOPNOTSUPP || result == -ENOSYS);
        request.error = advice_refused ? 0 : -result;
    } else if (is_transfer(request)) {
        // Part of a sector is transferred again.
        const uint64_t sectors = static_cast<uint64_t>(result) / kSectorBytes;
        const bool whole = done_bytes(request) + sectors * kSectorBytes == request.length_bytes;
        if (!whole && sectors > 0) {
            request.error += static_cast<int>(sectors);
            return enter(request);
        }
        request.error = whole ? 0 : EIO;
    } else {
        request.error = 0;
    }
    --in_flight_;
    if (Continuation* next = waiting_.pop(); next != nullptr) {
        ++in_flight_;
        enter(static_cast<DeviceRequest&>(*next));
    }
    reactor_.post(request);
}

}  // namespace stoa::io
