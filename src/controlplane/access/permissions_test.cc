#include "controlplane/access/permissions.h"

#include <gtest/gtest.h>

#include "controlplane/access/password.h"
#include "controlplane/access/rate_limit.h"

namespace stoa::access {
namespace {

constexpr const char* kOne = "/vm/01890000-0000-7000-8000-000000000001";
constexpr const char* kTwo = "/vm/01890000-0000-7000-8000-000000000002";

struct Row {
    const char* role;
    const char* path;
    const char* permission;
    const char* resource;
    bool allowed;
};

TEST(Permissions, the_table_of_role_path_and_permission_holds) {
    Roles roles = built_in_roles();
    roles["starter"] = {"vm.start"};
    roles["vm-all"] = {"vm.*"};
    roles["reader"] = {"*.read"};
    roles["shell"] = {"vm.exec"};
    const Row rows[] = {
        {"viewer", "/", "vm.read", "/", true},
        {"viewer", "/", "vm.read", kOne, true},
        {"viewer", "/", "vm.start", kOne, false},
        {"viewer", "/", "user.read", "/", false},
        {"viewer", "/", "audit.read", "/", false},
        {"viewer", "/", "vm.console", kOne, false},
        {"viewer", "/vm", "vm.read", "/", false},
        {"viewer", "/vm", "vm.read", "/vm", true},
        {"viewer", kOne, "vm.read", kOne, true},
        {"viewer", kOne, "vm.read", kTwo, false},
        {"viewer", kOne, "vm.read", "/vm", false},
        {"viewer", kOne, "vm.read", "/", false},
        {"operator", "/", "vm.start", kOne, true},
        {"operator", "/", "vm.create", "/vm", true},
        {"operator", "/", "vm.exec", kOne, false},
        {"operator", "/", "vm.file", kOne, false},
        {"operator", "/", "vm.console", kOne, false},
        {"operator", "/", "volume.delete", "/volume", true},
        {"operator", "/", "network.set", "/network", false},
        {"operator", "/", "pool.delete", "/pool", false},
        {"operator", "/", "user.create", "/", false},
        {"operator", "/", "token.create", "/", false},
        {"operator", "/vm", "volume.create", "/volume", false},
        {"administrator", "/", "vm.exec", kOne, true},
        {"administrator", "/", "vm.file", kOne, true},
        {"administrator", "/", "vm.console", kOne, true},
        {"administrator", "/", "user.delete", "/user", true},
        {"administrator", kOne, "vm.exec", kOne, true},
        {"administrator", kOne, "vm.exec", kTwo, false},
        {"administrator", kOne, "user.create", "/", false},
        {"starter", "/", "vm.start", kOne, true},
        {"starter", "/", "vm.stop", kOne, false},
        {"vm-all", "/", "vm.delete", kOne, true},
        {"vm-all", "/", "vm.exec", kOne, false},
        {"reader", "/", "user.read", "/", true},
        {"reader", "/", "user.set", "/", false},
        {"shell", "/vm", "vm.exec", kOne, true},
        {"shell", "/vm", "vm.start", kOne, false},
        {"no-such-role", "/", "vm.read", kOne, false},
    };
    for (const Row& row : rows) {
        const std::vector<model::Grant> grants = {{row.role, row.path}};
        EXPECT_EQ(allows(grants, roles, row.permission, row.resource), row.allowed)
            << row.role << " on " << row.path << ": " << row.permission << " on " << row.resource;
    }
}

TEST(Permissions, a_path_holds_no_other_that_only_begins_like_it) {
    EXPECT_FALSE(holds("/vm", "/vms"));
    EXPECT_FALSE(holds("/vm", "/"));
    EXPECT_TRUE(holds("/", "/anything"));
}

TEST(Permissions, grants_add_up) {
    const std::vector<model::Grant> grants = {{"viewer", "/"}, {"operator", kOne}};
    EXPECT_TRUE(allows(grants, built_in_roles(), "vm.start", kOne));
    EXPECT_FALSE(allows(grants, built_in_roles(), "vm.start", kTwo));
    EXPECT_TRUE(allows(grants, built_in_roles(), "vm.read", kTwo));
    EXPECT_FALSE(is_administrator(grants));
}

TEST(Permissions, patterns_and_paths_are_checked) {
    for (const char* good : {"vm.start", "vm.*", "*.read", "*.*", "backup-job.run"}) {
        EXPECT_TRUE(check_pattern(good).ok()) << good;
    }
    for (const char* bad : {"", "vm", "vm.", ".read", "*", "vm.st*", "vm.a.b", "VM.read"}) {
        EXPECT_FALSE(check_pattern(bad).ok()) << bad;
    }
    for (const char* good : {"/", "/vm", kOne}) EXPECT_TRUE(check_path(good).ok()) << good;
    for (const char* bad : {"", "vm", "/vm/", "/vm/web1", "/vm/../user", "//", "/vm/ID/x"}) {
        EXPECT_FALSE(check_path(bad).ok()) << bad;
    }
}

TEST(Password, only_the_right_one_is_right_and_hashes_state_their_parameters) {
    const auto hash = hash_password("correct horse", Salt{std::byte{1}});
    ASSERT_TRUE(hash.ok());
    EXPECT_TRUE(hash->starts_with("$argon2id$v=19$m=19456,t=2,p=1$")) << *hash;
    EXPECT_TRUE(verify_password("correct horse", *hash));
    EXPECT_FALSE(verify_password("correct horsf", *hash));
    EXPECT_FALSE(verify_password("", *hash));
    EXPECT_FALSE(verify_password("nobody has this password", ""));
    EXPECT_FALSE(verify_password(std::string(5000, 'x'), *hash));
    EXPECT_FALSE(verify_password("correct horse", "garbage"));
    EXPECT_NE(*hash, *hash_password("correct horse", Salt{std::byte{2}}));
}

TEST(Password, short_and_malformed_ones_are_refused) {
    EXPECT_FALSE(check_password("1234567").ok());
    EXPECT_TRUE(check_password("12345678").ok());
    EXPECT_FALSE(check_password("1234567\xff").ok());
    EXPECT_FALSE(check_password(std::string(1025, 'x')).ok());
}

constexpr int64_t kSecond = 1'000'000'000;

TEST(RateLimit, failures_make_the_next_attempt_wait_twice_as_long) {
    RateLimit limit(5);
    int64_t now = 1000 * kSecond;
    for (uint32_t i = 0; i < 5; ++i) {
        EXPECT_TRUE(limit.check("user/anna", now).ok()) << i;
        limit.failed("user/anna", now);
    }
    for (const int64_t pause : {1, 2, 4, 8}) {
        const auto refused = limit.check("user/anna", now);
        ASSERT_FALSE(refused.ok());
        EXPECT_EQ(refused.error().code(), ErrorCode::busy);
        now += pause * kSecond;
        EXPECT_TRUE(limit.check("user/anna", now).ok()) << pause;
        limit.failed("user/anna", now);
    }
    EXPECT_TRUE(limit.check("user/bert", now).ok());
}

TEST(RateLimit, no_pause_is_longer_than_five_minutes_and_success_forgives) {
    RateLimit limit(5);
    for (int i = 0; i < 100; ++i) limit.failed("address/192.0.2.1", 0);
    EXPECT_FALSE(limit.check("address/192.0.2.1", RateLimit::kPauseMaxNs - 1).ok());
    EXPECT_TRUE(limit.check("address/192.0.2.1", RateLimit::kPauseMaxNs).ok());
    limit.succeeded("address/192.0.2.1");
    EXPECT_TRUE(limit.check("address/192.0.2.1", 1).ok());
}

TEST(RateLimit, many_keys_push_out_only_the_oldest) {
    RateLimit limit(5);
    for (int i = 0; i < 10; ++i) limit.failed("user/victim", 5 * kSecond);
    for (size_t i = 0; i < RateLimit::kKeysMax; ++i) {
        limit.failed("address/" + std::to_string(i), static_cast<int64_t>(i));
    }
    EXPECT_FALSE(limit.check("user/victim", 5 * kSecond).ok());
}

}  // namespace
}  // namespace stoa::access
