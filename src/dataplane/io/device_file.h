// A device in a regular file or on a block device, through a reactor's ring.
//
// Behaviour on real files: device_file_test.cc. Simulated twin: sim/disk.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "dataplane/io/device.h"
#include "dataplane/io/file_descriptor.h"
#include "dataplane/io/reactor.h"

namespace stoa::io {

struct DeviceFileOptions {
    bool create = false;         // a new file, mode 0600; an error if the path exists
    uint64_t size_bytes = 0;     // with create: of the sparse file, a positive multiple of 512
    bool direct = true;          // O_DIRECT; buffered where the file system refuses it
    bool read_only = false;      // writes and discards fail with EROFS
    bool exclusive_lock = true;  // one writer or many readers; false: no lock at all
    uint32_t lock_wait_ms = 5000;  // I/O of a killed owner can be in flight for a while
    uint32_t in_flight_max = 1024;  // requests in the kernel; further ones wait their turn
    uint32_t transfer_bytes_max = 1u << 30;  // by one kernel operation, a multiple of 4096, at most
                                             // 1 GiB; longer requests go on piece by piece
};

class DeviceFile final : public Device, private RingClient {
public:
    // Opens and locks `path`; waits for the lock, and blocks the thread meanwhile. The lock is an
    // open-file-description lock on the description that does the I/O: it lasts exactly as long
    // as I/O can still arrive from it. Block devices are also opened with O_EXCL for writing, which
    // keeps mounts and device-mapper away. With create, file and directory entry are durable.
    // Errors: busy (locked or mounted), not_found, already_exists, no_space, read_only,
    // invalid_argument (options; not a file or block device), io.
    static Result<std::unique_ptr<DeviceFile>> open(Reactor& reactor, const std::string& path,
                                                    const DeviceFileOptions& options);
    DeviceFile(const DeviceFile&) = delete;
    DeviceFile& operator=(const DeviceFile&) = delete;
    ~DeviceFile() override;  // CHECKs that no request is in flight.

    // Beyond size_bytes(): EIO. A discard that the system does not support succeeds. While a
    // request is in flight its `error` is ours. Length at most 1 TiB; for direct I/O the buffer is
    // aligned to 512 bytes.
    void submit(DeviceRequest& request) override;
    // Rounded down to a multiple of 512.
    [[nodiscard]] uint64_t size_bytes() const override { return size_bytes_; }
    [[nodiscard]] const std::string& name() const override { return path_; }
    [[nodiscard]] int descriptor() const override { return file_.get(); }
    // Errors: io.
    Result<uint64_t> refresh_size() override;

    // Whether reads and writes bypass the page cache; false also where the file system refused.
    [[nodiscard]] bool is_direct() const { return direct_; }
    [[nodiscard]] bool is_block_device() const { return block_device_; }

private:
    DeviceFile(Reactor& reactor, std::string path, const DeviceFileOptions& options);
    Result<void> prepare();
    Result<void> check_options() const;
    Result<void> open_path(uint64_t give_up_ns);
    Result<void> check_type();
    Result<void> lock(uint64_t give_up_ns);
    Result<void> make_durable();
    void choose_direct();
    // 0, or the errno that `request` ends with at once.
    [[nodiscard]] int refusal(const DeviceRequest& request) const;
    void enter(DeviceRequest& request);
    void complete(void* item, int result) override;

    Reactor& reactor_;
    const std::string path_;
    const DeviceFileOptions options_;
    const uint16_t client_;
    FileDescriptor file_;
    uint64_t size_bytes_ = 0;
    bool direct_ = false;
    bool block_device_ = false;
    bool created_ = false;  // by prepare(), and to be removed if it fails
    uint32_t in_flight_ = 0;
    ContinuationQueue waiting_;  // DeviceRequests beyond in_flight_max
};

// DeviceFile::open() for those who need a Device only.
Result<std::unique_ptr<Device>> open_device(Reactor& reactor, const std::string& path,
                                            const DeviceFileOptions& options = {});

}  // namespace stoa::io
