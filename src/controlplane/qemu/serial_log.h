// The serial log of a VM: QEMU appends to it, we keep it short.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace stoa::qemu {

constexpr uint64_t kSerialLogBytes = uint64_t{1} << 20;

// If `path` holds more than half of `bytes_max`, its content becomes `path`.1 and it starts again
// empty: together they never hold more than `bytes_max` by much, if this is called often enough.
// What QEMU writes at that very moment can be lost. Blocks: call it on a Worker.
// Errors: io. A log that is not there is no error.
Result<void> trim_serial_log(const std::string& path, uint64_t bytes_max = kSerialLogBytes);

// The last `bytes_max` of both files. Blocks. Errors: io; a log that is not there is empty.
Result<std::string> read_serial_log(const std::string& path, uint64_t bytes_max = kSerialLogBytes);

}  // namespace stoa::qemu
