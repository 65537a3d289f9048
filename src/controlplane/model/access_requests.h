// What the API is asked about users, roles and tokens. Wherever a thing is named, its id or its
// name will do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "base/describe.h"
#include "controlplane/model/access.h"
#include "controlplane/model/record.h"

namespace stoa::model {

struct UserCreate {
    std::string name;
    Labels labels;
    std::string password;
    std::vector<Grant> grants;
    bool disabled = false;
    static constexpr auto fields() {
        return std::tuple(required("name", &UserCreate::name, "a DNS label"),
                          optional("labels", &UserCreate::labels, ""),
                          secret("password", &UserCreate::password,
                                 "empty: the user can have tokens, and not log in"),
                          optional("grants", &UserCreate::grants, "empty: may do nothing"),
                          optional("disabled", &UserCreate::disabled, ""));
    }
};

// What is there is changed, all else stays.
struct UserSet {
    std::optional<std::string> name;
    std::optional<Labels> labels;
    std::optional<std::vector<Grant>> grants;
    std::optional<bool> disabled;
    static constexpr auto fields() {
        return std::tuple(optional("name", &UserSet::name, ""),
                          optional("labels", &UserSet::labels, "all of them"),
                          optional("grants", &UserSet::grants, "all of them"),
                          optional("disabled", &UserSet::disabled, ""));
    }
};

struct UserPassword {
    std::string old_password;
    std::string password;
    static constexpr auto fields() {
        return std::tuple(
            secret("old_password", &UserPassword::old_password, "needed by who changes his own"),
            secret("password", &UserPassword::password, "the new one"));
    }
};

struct Login {
    std::string user;
    std::string password;
    static constexpr auto fields() {
        return std::tuple(required("user", &Login::user, "its name"),
                          secret("password", &Login::password, ""));
    }
};

// The token is shown this once.
struct LoginResult {
    std::string token;
    int64_t expires_ns = 0;
    static constexpr auto fields() {
        return std::tuple(required("token", &LoginResult::token, "for Authorization: Bearer"),
                          required("expires_ns", &LoginResult::expires_ns, "ns since 1970"));
    }
};

struct RoleCreate {
    std::string name;
    Labels labels;
    std::vector<std::string> permissions;
    static constexpr auto fields() {
        return std::tuple(
            required("name", &RoleCreate::name, "a DNS label"),
            optional("labels", &RoleCreate::labels, ""),
            required("permissions", &RoleCreate::permissions, "such as vm.start, vm.*, *.read"));
    }
};

struct RoleSet {
    std::optional<std::string> name;
    std::optional<Labels> labels;
    std::optional<std::vector<std::string>> permissions;
    static constexpr auto fields() {
        return std::tuple(optional("name", &RoleSet::name, ""),
                          optional("labels", &RoleSet::labels, "all of them"),
                          optional("permissions", &RoleSet::permissions, "all of them"));
    }
};

struct TokenCreate {
    std::string name;
    Labels labels;
    std::string user;
    std::vector<Grant> grants;
    int64_t expires_ns = 0;
    static constexpr auto fields() {
        return std::tuple(
            required("name", &TokenCreate::name, "a DNS label"),
            optional("labels", &TokenCreate::labels, ""),
            optional("user", &TokenCreate::user, "for whom it acts; you if empty"),
            optional("grants", &TokenCreate::grants, "empty: all that the user may"),
            optional("expires_ns", &TokenCreate::expires_ns, "ns since 1970; 0: never"));
    }
};

// The token is shown this once; what is kept is a hash of it.
struct TokenCreated {
    Uuid id;
    std::string token;
    static constexpr auto fields() {
        return std::tuple(required("id", &TokenCreated::id, "of its record"),
                          required("token", &TokenCreated::token, "for Authorization: Bearer"));
    }
};

}  // namespace stoa::model
