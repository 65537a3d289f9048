// WriteOnceOracle: watches the disks of a pool and notes the first breach of the rule that between
// two durable superblocks no address is written twice. Rewriting equal content is no breach: a
// repair from a mirror does that.
//
// A period ends when a flush makes a superblock durable and no other one is on its way, on any of
// the watched disks. Tests: write_once_oracle_test.cc.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "dataplane/io/sim/disk.h"

namespace stoa::io::sim {

class WriteOnceOracle {
public:
    enum class Place : uint8_t {
        once,        // data or nodes: written once in a period
        fixed,       // label, ring, table, bitmap slot: written at will
        superblock,  // likewise; when durable, the next period begins
    };
    // The kind of the page at `offset_bytes` (a multiple of 4096).
    using Classify = std::function<Place(const Disk& disk, uint64_t offset_bytes)>;

    explicit WriteOnceOracle(Classify classify) : classify_(std::move(classify)) {}

    // Observes `disk`, and outlives it.
    void watch(Disk& disk) {
        disk.add_observer([this](const DiskEvent& event) { observe(event); });
    }
    void observe(const DiskEvent& event);
    // Begins the next period, for a test that knows better.
    void begin_period();
    // After a crash: nothing is in flight, and what was written may be written again.
    void reset();

    // The first breach; stays until the oracle is destroyed.
    [[nodiscard]] const std::optional<std::string>& violation() const { return violation_; }
    [[nodiscard]] uint64_t periods() const { return periods_; }

private:
    struct Address {
        const Disk* disk;
        uint64_t page;
        bool operator==(const Address&) const = default;
    };
    struct AddressHash {
        size_t operator()(const Address& address) const {
            return static_cast<size_t>(
                mix(address.page + reinterpret_cast<uintptr_t>(address.disk)));
        }
    };
    struct Pending {
        const Disk* disk;
        uint64_t number;  // of the completed superblock write
    };

    void note_write(const DiskEvent& event);
    [[nodiscard]] bool has_superblock(const DiskEvent& event) const;

    Classify classify_;
    std::unordered_map<Address, uint64_t, AddressHash> written_;  // hash of the content
    std::vector<Pending> pending_;
    uint64_t superblocks_in_flight_ = 0;
    uint64_t periods_ = 0;
    std::optional<std::string> violation_;
};

}  // namespace stoa::io::sim
