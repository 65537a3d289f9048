// Any text: parsing ends, and what was read is written and read again as the same.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/describe.h"

using namespace stoa;

namespace {
struct Anything {
    std::vector<std::map<std::string, std::optional<uint32_t>>> list;
    static constexpr auto fields() { return std::tuple(required("list", &Anything::list, "")); }
};

// Integers and everything else exactly; see json.h for other numbers.
bool same(const Json& a, const Json& b) {
    if (a.kind() != b.kind()) return false;
    if (a.is_array()) return std::ranges::equal(a.get_array(), b.get_array(), same);
    if (a.is_object()) {
        const auto member = [](const auto& one, const auto& other) {
            return one.key() == other.key() && same(one.value(), other.value());
        };
        return std::ranges::equal(a.get_object(), b.get_object(), member);
    }
    if (!a.is_double() || a.get_double() == b.get_double()) return to_text(a) == to_text(b);
    return std::abs(a.get_double() - b.get_double()) <= std::abs(a.get_double()) * 1e-14;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const auto json = parse_json({reinterpret_cast<const char*>(data), size});
    if (!json.ok()) return 0;
    const auto again = parse_json(to_pretty_text(*json));
    if (!again.ok() || !same(*again, *json)) std::abort();
    Anything anything;
    if (from_json(*json, anything).ok() && !from_json(to_json(anything), anything).ok()) {
        std::abort();
    }
    return 0;
}
