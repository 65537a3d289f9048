// Names of what one instance has in the kernel: links, tables, and where its files lie.
//
// Instances stand side by side on one host: each thing bears the mark of its own, so that it can be
// found again after a crash, and never taken for another's. A link's name has up to 15 bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/uuid.h"

namespace stoa::network {

struct Instance {
    std::string id;  // 8 hex digits
};

// "st1a2bn0c4d5e": of a network's bridge.
[[nodiscard]] std::string bridge_name(const Instance& instance, const Uuid& network);
// "st1a2bv0c4d5e": of a NIC's tap. `salt` 0, 1, … until it is a name that no other NIC has.
[[nodiscard]] std::string tap_name(const Instance& instance, const Uuid& vm, std::string_view nic,
                                   uint32_t salt);
// "stoa_1a2b3c4d": in the families ip and bridge of nftables.
[[nodiscard]] std::string table_name(const Instance& instance);

// FNV-1a of what a NIC is known by: spreads names and hardware addresses, keeps no secret.
[[nodiscard]] uint64_t nic_hash(const Uuid& vm, std::string_view nic, uint32_t salt);

}  // namespace stoa::network
