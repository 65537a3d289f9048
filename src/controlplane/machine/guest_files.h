// Files between a client and a guest, piece by piece through its agent.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "controlplane/async/async.h"
#include "controlplane/qemu/agent.h"

namespace stoa::machine {

// Gives the next piece of at most so many bytes; an empty one is the end.
using Pieces = std::function<Async<std::string>(size_t bytes_max)>;

// Writes `path` in the guest. What was written stays when it fails in between: says how much.
Async<uint64_t> push_file(std::shared_ptr<qemu::Agent> agent, std::string path, Pieces pieces);

// A file of the guest, read from its beginning on.
class GuestFile {
public:
    // Errors: as qemu::file_open.
    static Async<std::unique_ptr<GuestFile>> open(std::shared_ptr<qemu::Agent> agent,
                                                  std::string path);
    // Empty: the end; the guest's handle is closed then.
    Async<std::string> read();

private:
    GuestFile(std::shared_ptr<qemu::Agent> agent, int64_t handle)
        : agent_(std::move(agent)), handle_(handle) {}
    std::shared_ptr<qemu::Agent> agent_;
    int64_t handle_;
    bool at_end_ = false;
};

}  // namespace stoa::machine
