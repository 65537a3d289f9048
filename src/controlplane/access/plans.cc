#include "controlplane/access/plans.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/utf8.h"
#include "controlplane/access/access.h"

namespace stoa::access {

namespace {

constexpr size_t kPermissionsMax = 200;
constexpr size_t kGrantsMax = 100;
constexpr size_t kTokensMax = 25;  // of one user, that go with him in one transaction

template <class Kind>
Result<const model::Record<Kind>*> find(const records::Records& records, std::string_view name,
                                        std::string_view if_match) {
    TRY_ASSIGN(const model::Record<Kind>* record, records.find<Kind>(name));
    if (!if_match.empty() && if_match != record->revision) {
        return Error(ErrorCode::conflict, fmt::format("{} {}: was changed meanwhile (revision {})",
                                                      Kind::kName, record->name, record->revision));
    }
    return record;
}

template <class Kind>
task::Plan plan_of(std::string_view verb, const Uuid& id) {
    task::Plan plan;
    plan.verb = fmt::format("{}.{}", Kind::kName, verb);
    plan.target = fmt::format("{}/{}", Kind::kName, id.to_string());
    return plan;
}

bool can_administer(const model::Record<model::User>& user) {
    return !user.spec.disabled && user.status.has_password && is_administrator(user.spec.grants);
}

// That somebody can still log in as administrator when `user` cannot any more.
Result<void> check_not_last(const records::Records& records,
                            const model::Record<model::User>& user) {
    if (!can_administer(user)) return {};
    for (const auto& [id, other] : records.all<model::User>()) {
        if (id != user.id && can_administer(other)) return {};
    }
    return Error(
        ErrorCode::in_use,
        fmt::format("user {}: is the last one who can log in as administrator", user.name));
}

Result<void> check_permissions(const std::vector<std::string>& permissions) {
    if (permissions.size() > kPermissionsMax) {
        return Error(ErrorCode::invalid_argument, fmt::format("permissions: {}: at most {}",
                                                              permissions.size(), kPermissionsMax));
    }
    for (size_t i = 0; i < permissions.size(); ++i) {
        const auto good = check_pattern(permissions[i]);
        if (!good.ok()) return good.error().with_context(fmt::format("permissions[{}]", i));
    }
    return {};
}

Result<void> check_role_name(std::string_view name) {
    TRY(model::check_name(name));
    if (!built_in_roles().contains(name)) return {};
    return Error(ErrorCode::already_exists,
                 fmt::format("role \"{}\": is built in and cannot be changed", name));
}

// "user anna, token ci": who has the role.
std::string holders_of(const records::Records& records, const std::string& role) {
    std::string holders;
    const auto look = [&](std::string_view kind, const std::string& name,
                          const std::vector<model::Grant>& grants) {
        const bool has = std::ranges::any_of(
            grants, [&](const model::Grant& grant) { return grant.role == role; });
        if (has) holders += fmt::format("{}{} {}", holders.empty() ? "" : ", ", kind, name);
    };
    for (const auto& [id, user] : records.all<model::User>()) {
        look("user", user.name, user.spec.grants);
    }
    for (const auto& [id, token] : records.all<model::Token>()) {
        look("token", token.name, token.spec.grants);
    }
    return holders;
}

}  // namespace

Roles all_roles(const records::Records& records) {
    Roles roles = built_in_roles();
    for (const auto& [id, role] : records.all<model::Role>()) {
        roles.emplace(role.name, role.spec.permissions);  // a built-in one of this name stays
    }
    return roles;
}

Result<void> check_grants(const records::Records& records,
                          const std::vector<model::Grant>& grants) {
    if (grants.size() > kGrantsMax) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("grants: {}: at most {}", grants.size(), kGrantsMax));
    }
    for (size_t i = 0; i < grants.size(); ++i) {
        const auto path = check_path(grants[i].path);
        if (!path.ok()) return path.error().with_context(fmt::format("grants[{}].path", i));
        const bool exists = built_in_roles().contains(grants[i].role) ||
                            (model::check_name(grants[i].role).ok() &&
                             records.find<model::Role>(grants[i].role).ok());
        if (!exists) {
            return Error(ErrorCode::invalid_argument,
                         fmt::format("grants[{}].role: there is no role \"{}\"", i,
                                     to_plain_text(grants[i].role)));
        }
    }
    return {};
}

Result<task::Plan> plan_user_set(const records::Records& records, std::string_view user,
                                 const model::UserSet& request, std::string_view if_match) {
    TRY_ASSIGN(const auto* before, find<model::User>(records, user, if_match));
    model::Record<model::User> after = *before;
    if (request.name) after.name = *request.name;
    if (request.labels) after.labels = *request.labels;
    if (request.grants) after.spec.grants = *request.grants;
    if (request.disabled) after.spec.disabled = *request.disabled;
    TRY(model::check_name(after.name));
    TRY(model::check_labels(after.labels));
    TRY(check_grants(records, after.spec.grants));
    if (!can_administer(after)) TRY(check_not_last(records, *before));
    task::Plan plan = plan_of<model::User>("set", after.id);
    records::replace<model::User>(plan.intent, *before, after);
    return plan;
}

Result<task::Plan> plan_user_delete(const records::Records& records, std::string_view user,
                                    std::string_view if_match) {
    TRY_ASSIGN(const auto* record, find<model::User>(records, user, if_match));
    TRY(check_not_last(records, *record));
    task::Plan plan = plan_of<model::User>("delete", record->id);
    records::erase<model::User>(plan.intent, *record);
    plan.intent.deletes.push_back(password_key(record->id));
    size_t tokens = 0;
    for (const auto& [id, token] : records.all<model::Token>()) {
        if (token.spec.user != record->id) continue;
        if (++tokens > kTokensMax) {
            return Error(ErrorCode::in_use,
                         fmt::format("user {}: has more than {} tokens: delete some first",
                                     record->name, kTokensMax));
        }
        records::erase<model::Token>(plan.intent, token);
        plan.intent.deletes.push_back(token_key(id));
    }
    return plan;
}

Result<task::Plan> plan_role_create(const records::Records& /*records*/, task::Ids& ids,
                                    const model::RoleCreate& request) {
    model::Record<model::Role> record;
    record.id = ids.next();
    record.name = request.name;
    record.labels = request.labels;
    record.created_ns = ids.now_ns();
    record.spec.permissions = request.permissions;
    TRY(check_role_name(record.name));
    TRY(model::check_labels(record.labels));
    TRY(check_permissions(record.spec.permissions));
    task::Plan plan = plan_of<model::Role>("create", record.id);
    records::create<model::Role>(plan.intent, record);
    return plan;
}

Result<task::Plan> plan_role_set(const records::Records& records, std::string_view role,
                                 const model::RoleSet& request, std::string_view if_match) {
    TRY_ASSIGN(const auto* before, find<model::Role>(records, role, if_match));
    model::Record<model::Role> after = *before;
    if (request.name) after.name = *request.name;
    if (request.labels) after.labels = *request.labels;
    if (request.permissions) after.spec.permissions = *request.permissions;
    TRY(check_role_name(after.name));
    TRY(model::check_labels(after.labels));
    TRY(check_permissions(after.spec.permissions));
    const std::string holders = after.name == before->name ? "" : holders_of(records, before->name);
    if (!holders.empty()) {
        return Error(ErrorCode::in_use, fmt::format("role {}: cannot be renamed while {} has it",
                                                    before->name, holders));
    }
    task::Plan plan = plan_of<model::Role>("set", after.id);
    records::replace<model::Role>(plan.intent, *before, after);
    return plan;
}

Result<task::Plan> plan_role_delete(const records::Records& records, std::string_view role,
                                    std::string_view if_match) {
    TRY_ASSIGN(const auto* record, find<model::Role>(records, role, if_match));
    const std::string holders = holders_of(records, record->name);
    if (!holders.empty()) {
        return Error(ErrorCode::in_use, fmt::format("role {}: {} has it", record->name, holders));
    }
    task::Plan plan = plan_of<model::Role>("delete", record->id);
    records::erase<model::Role>(plan.intent, *record);
    return plan;
}

Result<task::Plan> plan_token_delete(const records::Records& records, std::string_view token,
                                     std::string_view if_match) {
    TRY_ASSIGN(const auto* record, find<model::Token>(records, token, if_match));
    task::Plan plan = plan_of<model::Token>("delete", record->id);
    records::erase<model::Token>(plan.intent, *record);
    plan.intent.deletes.push_back(token_key(record->id));
    return plan;
}

}  // namespace stoa::access
