// Any order to stoa-launch: what is accepted keeps to the rules, and is the same when written and
// read again.
#include <cstdlib>

#include "controlplane/host/launch/request.h"

using namespace stoa;
using namespace stoa::host;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const auto spec = parse_launch({reinterpret_cast<const char*>(data), size});
    if (!spec.ok()) return 0;
    if (!spec->program.starts_with('/') || spec->program.contains('\0')) std::abort();
    for (const uint32_t number : spec->descriptors) {
        if (number < 3 || number > kPassedNumberMax) std::abort();
    }
    const std::string text = to_text(to_json(*spec));
    const auto again = parse_launch(text);
    if (!again.ok() || to_text(to_json(*again)) != text) std::abort();
    return 0;
}
