// Whether a QEMU can be started with what is given: what arguments() relies on.
#pragma once

#include "base/result.h"
#include "controlplane/qemu/arguments.h"

namespace stoa::qemu {

// Errors: invalid_argument (names the field and its value).
[[nodiscard]] Result<void> check(const MachineArguments& machine);

}  // namespace stoa::qemu
