// For tests: file systems of their own, small or without direct I/O.
#pragma once

#include <sys/mount.h>

#include "dataplane/io/file_descriptor.h"

namespace stoa::io {

// A file system that is mounted nowhere and goes away with its descriptor; needs privilege.
inline FileDescriptor detached_file_system(const char* type, const char* size) {
    const FileDescriptor context(fsopen(type, FSOPEN_CLOEXEC));
    if (!context.is_open()) return {};
    if (size != nullptr) fsconfig(context.get(), FSCONFIG_SET_STRING, "size", size, 0);
    if (fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) return {};
    return FileDescriptor(fsmount(context.get(), FSMOUNT_CLOEXEC, 0));
}

}  // namespace stoa::io
