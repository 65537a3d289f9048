// Any text in the files of /proc and /etc, and as output of nft and QEMU.
#include "controlplane/host/facts.h"

#include <algorithm>
#include <cstdlib>

using namespace stoa::host;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    static_cast<void>(parse_meminfo(text).usable_bytes());
    static_cast<void>(parse_resolvers(text).size());
    static_cast<void>(parse_distribution(text).size());
    static_cast<void>(parse_qemu_version(text).size());
    if (!std::ranges::is_sorted(parse_listening(text))) std::abort();
    for (const TableName& table : parse_tables(text)) {
        if (table.family.empty() || table.name.empty()) std::abort();
    }
    static_cast<void>(find_forward_drops(text).ok());
    return 0;
}
