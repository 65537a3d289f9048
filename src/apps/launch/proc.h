// The keeper's view of /proc, and its status file.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "controlplane/host/launch/request.h"

namespace stoa::apps::launch {

// Of a child that was not reaped yet.
std::optional<host::ProcessIdentity> identify(pid_t pid);

// Replaces the file as a whole; it need not survive a power loss, since no process does. An empty
// path: nothing. 0 or errno.
int write_status(const std::string& path, const host::ProcessStatus& status);

}  // namespace stoa::apps::launch
