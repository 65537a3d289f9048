// CHECK: an invariant of the program itself. Always on; prints and aborts.
// Bytes from a disk, a guest or a socket are validated and answered with an Error, never CHECKed.
#pragma once

namespace stoa {

[[noreturn]] void check_failed(const char* expression, const char* file, int line);

}  // namespace stoa

#define CHECK(expression)                                          \
    do {                                                           \
        if (!(expression)) [[unlikely]]                            \
            ::stoa::check_failed(#expression, __FILE__, __LINE__); \
    } while (false)
