// What a program prints, the newest part of it: PATH and the piece before it, PATH.1, together at
// most so many bytes. A guest can print as much as it likes; it cannot fill the disk.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace stoa::apps::launch {

// Its directory must be one that only we write in. What cannot be written (disk full) is dropped.
class RingLog {
public:
    RingLog(std::string path, uint64_t bytes_max);
    RingLog(const RingLog&) = delete;
    RingLog& operator=(const RingLog&) = delete;
    ~RingLog();

    // Continues an existing file. False: it cannot be opened (errno).
    bool open();
    void write(std::string_view text);

private:
    void turn();

    std::string path_;
    uint64_t half_bytes_;
    uint64_t used_bytes_ = 0;
    int file_ = -1;
};

}  // namespace stoa::apps::launch
