// What requests about users, roles and tokens will do. Pure; plans without steps. What needs a
// secret is in access.h. `if_match`: the revision that the request is about; empty: any.
#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"
#include "controlplane/access/permissions.h"
#include "controlplane/model/access_requests.h"
#include "controlplane/records/records.h"
#include "controlplane/task/plan.h"

namespace stoa::access {

// Errors of all: invalid_argument (field), not_found, conflict (another revision). Of those that
// would leave nobody who can log in as an administrator: in_use.

[[nodiscard]] Result<task::Plan> plan_user_set(const records::Records& records,
                                               std::string_view user, const model::UserSet& request,
                                               std::string_view if_match);
// With its password and tokens.
[[nodiscard]] Result<task::Plan> plan_user_delete(const records::Records& records,
                                                  std::string_view user, std::string_view if_match);
[[nodiscard]] Result<task::Plan> plan_role_create(const records::Records& records, task::Ids& ids,
                                                  const model::RoleCreate& request);
// Built-in roles are no records, and their names are taken.
[[nodiscard]] Result<task::Plan> plan_role_set(const records::Records& records,
                                               std::string_view role, const model::RoleSet& request,
                                               std::string_view if_match);
// Errors: in_use (names who has it).
[[nodiscard]] Result<task::Plan> plan_role_delete(const records::Records& records,
                                                  std::string_view role, std::string_view if_match);
[[nodiscard]] Result<task::Plan> plan_token_delete(const records::Records& records,
                                                   std::string_view token,
                                                   std::string_view if_match);

// Paths are well-formed and roles exist. Errors: invalid_argument ("grants[1].role: …").
[[nodiscard]] Result<void> check_grants(const records::Records& records,
                                        const std::vector<model::Grant>& grants);
// The built-in ones and those of the records.
[[nodiscard]] Roles all_roles(const records::Records& records);

}  // namespace stoa::access
