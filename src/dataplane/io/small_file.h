// Small files that are read and written whole. These calls block.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "dataplane/io/file_descriptor.h"

namespace stoa::io {

// Errors: not_found, out_of_range (more than `bytes_max`), io.
Result<std::string> read_small_file(const std::string& path, size_t bytes_max);
// Afterwards the file holds `content`, also after a power loss; before, what it held: never
// anything between. Mode 0600. Errors: no_space, io.
Result<void> replace_small_file(const std::string& path, std::string_view content);
// Creates the directory and its parents (mode 0700). Errors: io.
Result<void> make_directories(const std::string& path);
// Locks `path` (made if missing) until the descriptor closes. Waits at most `wait_ms`: the kernel
// may still be ending a killed owner. Errors: busy, io.
Result<FileDescriptor> lock_file(const std::string& path, uint32_t wait_ms);
// Whether what is at `path` is gone after a reboot: a tmpfs.
[[nodiscard]] bool is_on_tmpfs(const std::string& path);

// Opens it for reading and closes it again; takes as long as its file system or device takes.
[[nodiscard]] bool can_be_opened(const std::string& path);

// That it is ours, and nobody else may write there. Not through a symbolic link.
// Errors: invalid_argument (whose it is), io.
Result<void> check_private_directory(const std::string& path);

}  // namespace stoa::io
