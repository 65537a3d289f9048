// Files that are handed to another process as descriptors, because it could not open them itself.
#pragma once

#include <string>

#include "base/result.h"
#include "controlplane/host/descriptor.h"
#include "controlplane/host/files.h"

namespace stoa::host {

// A regular file, for reading; not through a symbolic link. Errors: not_found, denied, io.
Result<Descriptor> open_to_read(const std::string& path);

// `copy`, made from `original` if it is not there yet (durable before it appears), and owned by
// `owner`; for reading and writing. Errors: not_found, denied, no_space, io.
Result<Descriptor> open_own_copy(const std::string& original, const std::string& copy,
                                 FileOwner owner);

}  // namespace stoa::host
