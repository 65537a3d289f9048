// Who may do what.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/describe.h"
#include "base/result.h"
#include "base/uuid.h"

namespace stoa::model {

// The right to `role` on `path` and all below it: "/", "/vm", "/vm/ID".
struct Grant {
    std::string role;
    std::string path = "/";
    static constexpr auto fields() {
        return std::tuple(required("role", &Grant::role,
                                   "viewer, operator, administrator, or one "
                                   "of your own"),
                          optional("path", &Grant::path, "/, /KIND or /KIND/ID"));
    }
};

struct UserSpec {
    std::vector<Grant> grants;
    bool disabled = false;
    static constexpr auto fields() {
        return std::tuple(optional("grants", &UserSpec::grants, ""),
                          optional("disabled", &UserSpec::disabled, ""));
    }
};

// The hash of the password is kept under a key of its own, which no part of the API reads.
struct UserStatus {
    bool has_password = false;
    int64_t password_ns = 0;
    int64_t seen_ns = 0;
    static constexpr auto fields() {
        return std::tuple(optional("has_password", &UserStatus::has_password, ""),
                          optional("password_ns", &UserStatus::password_ns, "when it was set"),
                          optional("seen_ns", &UserStatus::seen_ns, "the last login"));
    }
};

struct User {
    static constexpr std::string_view kName = "user";
    using Spec = UserSpec;
    using Status = UserStatus;
};

struct RoleSpec {
    std::vector<std::string> permissions;
    static constexpr auto fields() {
        return std::tuple(required("permissions", &RoleSpec::permissions,
                                   "such as vm.start, vm.*, *.read; docs/access.md lists them"));
    }
};

struct RoleStatus {
    bool is_built_in = false;
    static constexpr auto fields() {
        return std::tuple(optional("built_in", &RoleStatus::is_built_in, "cannot be changed"));
    }
};

struct Role {
    static constexpr std::string_view kName = "role";
    using Spec = RoleSpec;
    using Status = RoleStatus;
};

// An API token acts for its user, within its own grants.
struct TokenSpec {
    Uuid user;
    std::vector<Grant> grants;
    int64_t expires_ns = 0;
    static constexpr auto fields() {
        return std::tuple(required("user", &TokenSpec::user, ""),
                          optional("grants", &TokenSpec::grants, "empty: all that the user may"),
                          optional("expires_ns", &TokenSpec::expires_ns, "0: never"));
    }
};

struct TokenStatus {
    int64_t seen_ns = 0;
    static constexpr auto fields() {
        return std::tuple(optional("seen_ns", &TokenStatus::seen_ns, "its last use"));
    }
};

struct Token {
    static constexpr std::string_view kName = "token";
    using Spec = TokenSpec;
    using Status = TokenStatus;
};

}  // namespace stoa::model
