// Any text as the daemon's state file: it is refused with a reason, or read; and what was read is
// written and read again as the same.
#include <cstdlib>

#include "dataplane/service/state.h"

using namespace stoa;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const auto state = service::parse_state({reinterpret_cast<const char*>(data), size}, "state");
    if (!state.ok()) {
        if (state.error().message().empty()) std::abort();
        return 0;
    }
    const std::string text = to_pretty_text(to_json(*state));
    const auto again = service::parse_state(text, "state");
    if (!again.ok() || to_pretty_text(to_json(*again)) != text) std::abort();
    return 0;
}
