// Small files that are read and written whole, and directories. These calls block: a control file
// may be read on the loop's thread, anything that waits for a disk belongs to a Worker.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "controlplane/host/descriptor.h"

namespace stoa::host {

// Also for /proc and /sys. Errors: not_found, denied, out_of_range (more than `bytes_max`), io.
Result<std::string> read_file(const std::string& path, size_t bytes_max);

struct FileOwner {
    uint32_t uid = 0;
    uint32_t gid = 0;
};

struct WriteOptions {
    uint32_t mode = 0600;
    std::optional<FileOwner> owner{};  // nothing: who runs the program
    bool durable = true;             // flushed to the disk before it appears
};

// Afterwards the file holds `content`, also after a power loss; before, what it held: never
// anything between. Errors: no_space, read_only, denied, io: the file is as before.
Result<void> replace_file(const std::string& path, std::string_view content,
                          const WriteOptions& options = {});
// Writes into a file that exists and is no file of a disk: those of /proc/sys and cgroups.
// One write(2). Errors: not_found, denied, busy, invalid_argument, io, as the kernel says.
Result<void> write_setting(const std::string& path, std::string_view value);

// Removes a file; none there is fine. Errors: denied, io.
Result<void> remove_file(const std::string& path);

// Creates the directory and its parents, those that are missing with `mode`. Errors: denied,
// invalid_argument (a file is in the way), no_space, io.
Result<void> make_directories(const std::string& path, uint32_t mode = 0700);
// One directory with exactly this mode and owner, made or corrected; a symbolic link or somebody
// else's directory is refused. Its parent must exist. Errors: denied, io.
Result<void> make_private_directory(const std::string& path, uint32_t mode,
                                    std::optional<FileOwner> owner = {});
// That it is a directory, ours (or root's), and nobody else may write there. Not through a symbolic
// link. Errors: denied (whose it is, and what to do), not_found, io.
Result<void> check_private_directory(const std::string& path);
// Removes it with all it holds, not through symbolic links and not into another file system; none
// there is fine. Errors: denied, io.
Result<void> remove_tree(const std::string& path);
// Names in it, sorted; without "." and "..". Errors: not_found, denied, io.
Result<std::vector<std::string>> list_directory(const std::string& path);

struct Space {
    uint64_t total_bytes = 0;
    uint64_t free_bytes = 0;  // for who runs the program
    bool operator==(const Space&) const = default;
};
// Of the file system that `path`, or the nearest parent of it that exists, lies on. Errors: io.
Result<Space> space_of(const std::string& path);
// Whether what is at `path` is gone after a reboot: a tmpfs.
[[nodiscard]] bool is_on_tmpfs(const std::string& path);

// Locks `path` (made if missing, mode 0600) until the descriptor closes; does not wait. Errors:
// busy
// ("… is locked by process 4711 (stoad --root /srv/a)"), denied, io.
Result<Descriptor> lock_file(const std::string& path);

}  // namespace stoa::host
