// Fuzz target: the engine opens and uses a pool whose structures were changed and then got right
// checksums again. It must not crash, wait for ever, or let one volume's damage stop the others.
//
// The input: one byte that chooses the pool, one of options, then changes of 12 bytes: what, where
// (3 bytes), how, a value (6 bytes), one more. Set STOA_FUZZ_PRINT to see what the engine says.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <vector>

#include "dataplane/pool/test_hostile_base.h"
#include "dataplane/pool/test_hostile_edit.h"
#include "dataplane/pool/test_hostile_image.h"
#include "dataplane/pool/test_hostile_use.h"

namespace stoa::pool::hostile {
namespace {

struct Base {
    explicit Base(size_t variant) : image(make_pool(variant)), hostile(image) {
        // The kept volume is the first object.
        catalog = hostile.survey(1);
    }
    io::sim::Image image;
    HostileImage hostile;
    Catalog catalog;
};

Base& base(size_t variant) {
    static std::array<std::optional<Base>, kVariants> made;
    if (!made[variant]) made[variant].emplace(variant);
    return *made[variant];
}

Edit decode(const uint8_t* e) {
    uint64_t value = 0;
    for (size_t i = 0; i < 6; ++i) value |= uint64_t{e[5 + i]} << (8 * i);
    return {e[0], e[1], e[2], e[3], e[4], value, e[11]};
}

void run(const uint8_t* data, size_t size) {
    constexpr size_t kEditBytes = 12;
    constexpr size_t kEditsMax = 24;
    const uint8_t variant = size > 0 ? data[0] % kVariants : 0;
    const uint8_t options = size > 1 ? data[1] : 0;
    HostileImage image = base(variant).hostile;
    Catalog catalog = base(variant).catalog;
    Editor editor(image, catalog);
    bool single = true;
    size_t edits = 0;
    for (size_t at = 2; at + kEditBytes <= size && edits < kEditsMax; at += kEditBytes, ++edits) {
        if ((data[at] & 0xF0) == 0xF0) {
            // Any byte, and no checksum is mended for it afterwards.
            const Edit edit = decode(data + at);
            image.edit({edit.value % image.device_blocks()}, [&](Block& block) {
                block[(edit.index + size_t{256} * edit.field) % block.size()] ^=
                    std::byte{edit.more};
            });
            single = false;
        } else {
            single = editor.apply(decode(data + at)) && single;
        }
    }
    if ((options & 32) == 0) image.seal(catalog);
    UseOptions use;
    use.seed = size + 1000;  // not that of the pool: uuids would repeat
    use.read_only = (options & 1) != 0 && (options & 2) != 0;
    use.accept_damaged = (options & 4) != 0;
    use.background = (options & 8) == 0;
    use.kept_must_survive = single;
    use.print = std::getenv("STOA_FUZZ_PRINT") != nullptr;
    User(image.image(), use).run();
}

}  // namespace
}  // namespace stoa::pool::hostile

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    stoa::pool::hostile::run(data, size);
    return 0;
}
