#include "controlplane/network/links.h"

#include <fmt/format.h>

namespace stoa::network {

namespace {

constexpr uint64_t kFnvOffset = 0xcbf29ce484222325;
constexpr uint64_t kFnvPrime = 0x100000001b3;

uint64_t add(uint64_t hash, uint8_t byte) { return (hash ^ byte) * kFnvPrime; }

// FNV's low bits see little of the last bytes: mixed once more (the end of MurmurHash3).
uint64_t mix(uint64_t hash) {
    hash = (hash ^ (hash >> 33)) * 0xff51afd7ed558ccd;
    hash = (hash ^ (hash >> 33)) * 0xc4ceb9fe1a85ec53;
    return hash ^ (hash >> 33);
}

std::string mark(const Instance& instance) { return "st" + instance.id.substr(0, 4); }

}  // namespace

uint64_t nic_hash(const Uuid& vm, std::string_view nic, uint32_t salt) {
    uint64_t hash = kFnvOffset;
    for (const std::byte byte : vm.bytes) hash = add(hash, static_cast<uint8_t>(byte));
    for (const char c : nic) hash = add(hash, static_cast<uint8_t>(c));
    hash = add(hash, 0xff);  // in no name: ("a", 1) and ("a1", 0) differ
    for (int shift = 0; shift < 32; shift += 8)
        hash = add(hash, static_cast<uint8_t>(salt >> shift));
    return mix(hash);
}

std::string bridge_name(const Instance& instance, const Uuid& network) {
    return fmt::format("{}n{:06x}", mark(instance), nic_hash(network, "", 0) & 0xffffff);
}

std::string tap_name(const Instance& instance, const Uuid& vm, std::string_view nic,
                     uint32_t salt) {
    return fmt::format("{}v{:06x}", mark(instance), nic_hash(vm, nic, salt) & 0xffffff);
}

std::string table_name(const Instance& instance) { return "stoa_" + instance.id; }

}  // namespace stoa::network
