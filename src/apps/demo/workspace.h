// The demo's own folder (under TMPDIR, else /tmp) and its file of shared memory; both are removed
// with it. The process works in the folder, so that files have short names.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

namespace stoa::apps::demo {

class Workspace {
public:
    // Makes the folder and enters it. Errors: io, no_space (less than 1 GiB free there).
    static Result<std::unique_ptr<Workspace>> create();
    Workspace(const Workspace&) = delete;
    Workspace& operator=(const Workspace&) = delete;
    ~Workspace();

    [[nodiscard]] const std::string& folder() const { return folder_; }
    // The two files of the pool, relative to the folder.
    [[nodiscard]] const std::vector<std::string>& files() const { return files_; }
    // Of the acknowledged-write ring; on tmpfs.
    [[nodiscard]] const std::string& ring() const { return ring_; }
    // What a restart of the host does to shared memory.
    void remove_ring() const;

private:
    explicit Workspace(std::string folder);

    std::string folder_;
    std::string ring_;
    std::vector<std::string> files_ = {"d0", "d1"};
};

// Waits until no process holds `file` locked: the kernel lets go of the files of a killed process
// when the last of its I/O has ended. Errors: busy (after five seconds), io.
Result<void> wait_until_free(const std::string& file);

// Changes one byte of `file` behind everybody's back. Errors: io.
Result<void> flip_byte(const std::string& file, uint64_t offset_bytes);

}  // namespace stoa::apps::demo
