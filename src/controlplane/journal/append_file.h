// A file that only grows at its end; the journal's few system calls.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace stoa::journal {

// Calls block. One thread.
class AppendFile {
public:
    AppendFile() = default;
    AppendFile(AppendFile&& other) noexcept;
    AppendFile& operator=(AppendFile&& other) noexcept;
    AppendFile(const AppendFile&) = delete;
    AppendFile& operator=(const AppendFile&) = delete;
    ~AppendFile();

    // Made if it does not exist, mode 0600; its name is durable then.
    // Errors of all: no_space, denied, io.
    static Result<AppendFile> open(const std::string& path);
    // Must exist; only read() is used then.
    static Result<AppendFile> open_to_read(const std::string& path);

    [[nodiscard]] uint64_t size_bytes() const { return size_bytes_; }
    // Whole or not at all, durable when it returns. Afterwards the file may have a torn tail if
    // the program dies in between.
    Result<void> append(std::string_view text);
    Result<void> cut_to(uint64_t size_bytes);
    // Fewer bytes than asked for only at the end of the file.
    [[nodiscard]] Result<std::string> read(uint64_t offset, size_t bytes) const;

private:
    static Result<AppendFile> open_with(const std::string& path, int flags);
    [[nodiscard]] Error failed(std::string_view what) const;

    int descriptor_ = -1;
    std::string path_;
    uint64_t size_bytes_ = 0;
};

}  // namespace stoa::journal
