// A tar file (POSIX ustar, pax(1)) of small files, written to memory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace stoa::cli {

class Tar {
public:
    // `name` of at most 100 bytes. Mode 0600.
    void add(std::string_view name, std::string_view content, int64_t time_seconds);
    // With the two blocks that end it; add nothing afterwards.
    std::string finish();

private:
    std::string bytes_;
};

}  // namespace stoa::cli
