#include "base/bytes.h"

namespace stoa {

bool is_zero(ConstBytes bytes) {
    const std::byte* p = bytes.data();
    size_t left = bytes.size();
    // Most blocks are not zero and show it in their first words.
    while (left >= 64) {
        uint64_t words[8];
        std::memcpy(words, p, sizeof words);
        const uint64_t any =
            words[0] | words[1] | words[2] | words[3] | words[4] | words[5] | words[6] | words[7];
        if (any != 0) return false;
        p += 64;
        left -= 64;
    }
    for (; left > 0; --left, ++p) {
        if (*p != std::byte{0}) return false;
    }
    return true;
}

}  // namespace stoa
