// Output of the program. fmt's print() throws when it cannot write; a disk that is full, or a
// reader that has gone, must not end the daemon.
#pragma once

#include <cstdio>
#include <string_view>

namespace stoa::apps::blockd {

// false: some of it is lost.
inline bool put(std::FILE* to, std::string_view text) {
    const bool whole = std::fwrite(text.data(), 1, text.size(), to) == text.size();
    return std::fflush(to) == 0 && whole;
}

}  // namespace stoa::apps::blockd
