// What the daemon remembers: which pools it opens, which sockets it serves, which
// origins it knows. One small file,
// replaced as a whole with each change, before the change is acknowledged.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/describe.h"
#include "base/result.h"
#include "dataplane/io/reactor.h"
#include "rpc/blockd.h"

namespace stoa::service {

struct PoolRecord {
    Uuid uuid;
    std::string name;  // when last seen
    std::vector<std::string> devices;
    bool read_only = false;
    bool accept_missing_devices = false;
    static constexpr auto fields() {
        return std::tuple(
            required("uuid", &PoolRecord::uuid, ""), required("name", &PoolRecord::name, ""),
            required("devices", &PoolRecord::devices, "paths"),
            optional("read_only", &PoolRecord::read_only, ""),
            optional("accept_missing_devices", &PoolRecord::accept_missing_devices, ""));
    }
    friend bool operator==(const PoolRecord&, const PoolRecord&) = default;
};

// Where the acknowledged writes of a pool are that is open for writing, or was not closed well.
struct RingRecord {
    Uuid pool;
    std::string path;
    std::string boot_id;  // of the host: it does not outlive that
    static constexpr auto fields() {
        return std::tuple(required("pool", &RingRecord::pool, ""),
                          required("path", &RingRecord::path, ""),
                          required("boot_id", &RingRecord::boot_id, ""));
    }
    friend bool operator==(const RingRecord&, const RingRecord&) = default;
};

struct AttachmentRecord {
    Uuid uuid;
    Uuid pool;
    Uuid object;
    std::string listen;  // with the real port, so that clients find it again
    uint64_t epoch = 0;
    bool read_only = false;
    std::optional<uint32_t> owner;
    std::optional<uint32_t> group;
    uint32_t mode = 0600;
    std::string export_name;
    std::optional<rpc::Tls> tls;
    static constexpr auto fields() {
        return std::tuple(required("uuid", &AttachmentRecord::uuid, ""),
                          required("pool", &AttachmentRecord::pool, ""),
                          required("object", &AttachmentRecord::object, ""),
                          required("listen", &AttachmentRecord::listen, ""),
                          required("epoch", &AttachmentRecord::epoch, ""),
                          required("read_only", &AttachmentRecord::read_only, ""),
                          optional("owner", &AttachmentRecord::owner, ""),
                          optional("group", &AttachmentRecord::group, ""),
                          required("mode", &AttachmentRecord::mode, ""),
                          required("export_name", &AttachmentRecord::export_name, ""),
                          optional("tls", &AttachmentRecord::tls, ""));
    }
    friend bool operator==(const AttachmentRecord&, const AttachmentRecord&) = default;
};

// The highest epoch with which a volume was attached for writing; it stays when nobody is attached.
struct EpochRecord {
    Uuid pool;
    Uuid volume;
    uint64_t epoch = 0;
    static constexpr auto fields() {
        return std::tuple(required("pool", &EpochRecord::pool, ""),
                          required("volume", &EpochRecord::volume, ""),
                          required("epoch", &EpochRecord::epoch, ""));
    }
    friend bool operator==(const EpochRecord&, const EpochRecord&) = default;
};

struct OriginRecord {
    Uuid uuid;
    std::string address;
    std::string export_name;
    uint64_t size_bytes = 0;  // when it was first seen
    std::optional<rpc::OriginTls> tls;
    static constexpr auto fields() {
        return std::tuple(required("uuid", &OriginRecord::uuid, ""),
                          required("address", &OriginRecord::address, ""),
                          required("export_name", &OriginRecord::export_name, ""),
                          required("size_bytes", &OriginRecord::size_bytes, ""),
                          optional("tls", &OriginRecord::tls, ""));
    }
    friend bool operator==(const OriginRecord&, const OriginRecord&) = default;
};

struct State {
    static constexpr uint32_t kVersion = 1;
    uint32_t version = kVersion;
    std::string instance;  // 8 hexadecimal digits
    std::vector<PoolRecord> pools;
    std::vector<AttachmentRecord> attachments;
    std::vector<OriginRecord> origins;
    std::vector<RingRecord> rings;  // also of pools that were closed with an error
    std::vector<EpochRecord> epochs;
    static constexpr auto fields() {
        return std::tuple(
            required("version", &State::version, ""), required("instance", &State::instance, ""),
            required("pools", &State::pools, ""), required("attachments", &State::attachments, ""),
            optional("origins", &State::origins, ""), optional("rings", &State::rings, ""),
            optional("epochs", &State::epochs, ""));
    }
};

// Errors of parse: corrupt, unsupported (written by a newer version).
Result<State> parse_state(std::string_view text, const std::string& path);

// Lives on one reactor; save() is called from its tasks only.
class StateFile {
public:
    // Reads it, or starts anew if there is none. Blocks. Errors: corrupt, unsupported, io.
    static Result<std::unique_ptr<StateFile>> open(io::Reactor& reactor, std::string path);

    // Change it, then save() before the change is acknowledged.
    State state;
    // The state as it is when the write begins. Errors: no_space, io: the file is as before.
    io::Task<Result<void>> save();

private:
    StateFile(io::Reactor& reactor, std::string path)
        : reactor_(reactor), path_(std::move(path)), lock_(reactor) {}
    io::Reactor& reactor_;
    const std::string path_;
    io::Mutex lock_;
};

}  // namespace stoa::service
