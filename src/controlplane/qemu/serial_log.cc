#include "controlplane/qemu/serial_log.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <system_error>

#include <fmt/format.h>

namespace stoa::qemu {

namespace {

namespace fs = std::filesystem;

std::string older(const std::string& path) { return path + ".1"; }

Error failed_on(const std::string& path, const std::error_code& code) {
    return {ErrorCode::io, fmt::format("{}: {}", path, code.message()), code.value()};
}

// 0 for a file that is not there.
Result<uint64_t> size_of(const std::string& path) {
    std::error_code code;
    const uint64_t size_bytes = fs::file_size(path, code);
    if (code == std::errc::no_such_file_or_directory) return uint64_t{0};
    if (code) return failed_on(path, code);
    return size_bytes;
}

// The last `bytes_max` of it.
Result<std::string> tail_of(const std::string& path, uint64_t bytes_max) {
    TRY_ASSIGN(const uint64_t size_bytes, size_of(path));
    const uint64_t count = std::min(size_bytes, bytes_max);
    if (count == 0) return std::string();
    std::ifstream file(path, std::ios::binary);
    file.seekg(static_cast<std::streamoff>(size_bytes - count));
    std::string bytes(count, '\0');
    file.read(bytes.data(), static_cast<std::streamsize>(count));
    if (file.bad() || !file.is_open()) return Error(ErrorCode::io, path + ": cannot be read");
    bytes.resize(static_cast<size_t>(file.gcount()));
    return bytes;
}

}  // namespace

Result<void> trim_serial_log(const std::string& path, uint64_t bytes_max) {
    TRY_ASSIGN(const uint64_t size_bytes, size_of(path));
    if (size_bytes <= bytes_max / 2) return {};
    TRY_ASSIGN(const std::string kept, tail_of(path, bytes_max / 2));
    // QEMU has the file open and appends: it must stay the same file.
    const std::string next = path + ".new";
    std::ofstream copy(next, std::ios::binary | std::ios::trunc);
    copy.write(kept.data(), static_cast<std::streamsize>(kept.size()));
    copy.close();
    if (!copy) return Error(ErrorCode::io, next + ": cannot be written");
    std::error_code code;
    fs::rename(next, older(path), code);
    if (code) return failed_on(next, code);
    fs::resize_file(path, 0, code);
    if (code) return failed_on(path, code);
    return {};
}

Result<std::string> read_serial_log(const std::string& path, uint64_t bytes_max) {
    TRY_ASSIGN(const std::string newer, tail_of(path, bytes_max));
    TRY_ASSIGN(const std::string before, tail_of(older(path), bytes_max - newer.size()));
    return before + newer;
}

}  // namespace stoa::qemu
