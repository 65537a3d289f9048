// Any text: parsing ends, and what was read is written and read again as the same.
#include <cstdlib>

#include "base/describe.h"

using namespace stoa;

namespace {
struct Anything {
    std::vector<std::map<std::string, std::optional<uint32_t>>> list;
    static constexpr auto fields() { return std::tuple(required("list", &Anything::list, "")); }
};
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const auto json = parse_json({reinterpret_cast<const char*>(data), size});
    if (!json.ok()) return 0;
    const auto again = parse_json(to_pretty_text(*json));
    if (!again.ok() || to_text(*again) != to_text(*json)) std::abort();
    Anything anything;
    if (from_json(*json, anything).ok() && !from_json(to_json(anything), anything).ok()) {
        std::abort();
    }
    return 0;
}
