// Permissions: what a role may, and where. Pure.
//
// A permission is KIND.VERB ("vm.start"). A role lists patterns: "vm.start", "vm.*", "*.read",
// "*.*". What reaches into a guest (vm.exec, vm.file, vm.console) is in no pattern with a '*': a
// role has it only by its name. A grant gives a role on a path and all below it: "/" holds "/vm",
// which holds "/vm/ID".
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "controlplane/model/access.h"

namespace stoa::access {

[[nodiscard]] bool is_into_guest(std::string_view permission);
[[nodiscard]] bool matches(std::string_view pattern, std::string_view permission);
[[nodiscard]] bool holds(std::string_view path, std::string_view resource);

// "KIND.VERB" of a-z, '-' and '*' as a whole word. Errors: invalid_argument.
[[nodiscard]] Result<void> check_pattern(std::string_view pattern);
// "/", "/KIND" or "/KIND/ID". Errors: invalid_argument.
[[nodiscard]] Result<void> check_path(std::string_view path);

// By name: the built-in ones and those of the administrator.
using Roles = std::map<std::string, std::vector<std::string>, std::less<>>;

// viewer: sees all but users, roles, tokens and the audit. operator: runs VMs and their storage.
// administrator: everything, into guests too.
[[nodiscard]] const Roles& built_in_roles();

// Whether one of the grants gives `permission` on `resource`. Roles that do not exist give nothing.
[[nodiscard]] bool allows(std::span<const model::Grant> grants, const Roles& roles,
                          std::string_view permission, std::string_view resource);

// Whether they make an administrator of everything.
[[nodiscard]] bool is_administrator(std::span<const model::Grant> grants);

}  // namespace stoa::access
