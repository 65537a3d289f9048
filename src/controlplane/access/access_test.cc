#include "controlplane/access/access.h"

#include <gtest/gtest.h>

#include "controlplane/access/plans.h"
#include "controlplane/access/recovery.h"
#include "controlplane/records/test_store.h"

namespace stoa::access {
namespace {

constexpr int64_t kHourNs = int64_t{3600} * 1'000'000'000;
const http::Principal kRoot{"local/0", "root"};

class AccessTest : public testing::Test {
protected:
    void SetUp() override { open(); }
    void TearDown() override { close(); }
    void open() {
        AccessOptions options;
        options.own_uid = 990;
        options.group = 4711;
        auto access = store_.await(Access::open(store_.loop().get_executor(), store_.records(),
                                                store_.store(), clock_, random_, options));
        ASSERT_TRUE(access.ok()) << access.error().message();
        access_ = *std::move(access);
    }
    void close() {
        if (access_ != nullptr) store_.await(access_->close());
        access_.reset();
    }
    Uuid create_user(const std::string& name, const std::string& role,
                     const std::string& password = "correct horse") {
        model::UserCreate request;
        request.name = name;
        request.password = password;
        if (!role.empty()) request.grants = {{role, "/"}};
        const auto id = store_.await(access_->create_user(request));
        EXPECT_TRUE(id.ok()) << id.error().message();
        return id.ok() ? *id : Uuid();
    }
    Result<model::LoginResult> login(const std::string& user, const std::string& password,
                                     const std::string& peer = "192.0.2.1") {
        return store_.await(access_->login({user, password}, peer));
    }
    Result<http::Principal> who(const std::string& bearer) {
        http::Credentials credentials;
        credentials.bearer = bearer;
        return store_.await(access_->authenticate(credentials));
    }
    Result<http::Principal> local(uint32_t uid, uint32_t gid) {
        http::Credentials credentials;
        credentials.peer.is_local = true;
        credentials.peer.uid = uid;
        credentials.peer.gid = gid;
        return store_.await(access_->authenticate(credentials));
    }
    void commit(Result<task::Plan> plan) {
        ASSERT_TRUE(plan.ok()) << plan.error().message();
        EXPECT_TRUE(plan->steps.empty());
        const auto done = store_.commit(std::move(plan->intent));
        ASSERT_TRUE(done.ok()) << done.error().message();
    }
    std::string everything() {
        const auto page = store_.await(store_.store().list("/", "", 1000));
        std::string all;
        for (const auto& entry : page->entries) all += entry.key + "=" + entry.value + "\n";
        return all;
    }

    records::TestStore store_;
    host::TestClock clock_;
    host::SeededRandom random_{1};
    std::unique_ptr<Access> access_;
};

TEST_F(AccessTest, the_unix_socket_is_for_root_the_own_user_and_the_group) {
    EXPECT_EQ(local(0, 0)->name, "local/0");
    EXPECT_EQ(local(990, 5)->name, "local/990");
    EXPECT_EQ(local(1000, 4711)->name, "local/1000");
    EXPECT_EQ(local(1000, 1000).error().code(), ErrorCode::denied);
    EXPECT_TRUE(access_->authorize(*local(0, 0), "vm.exec", "/").ok());
    EXPECT_FALSE(who("").ok());
}

TEST_F(AccessTest, a_login_gives_a_session_that_slides_and_ends) {
    const Uuid anna = create_user("anna", "operator");
    const auto session = login("anna", "correct horse");
    ASSERT_TRUE(session.ok()) << session.error().message();
    EXPECT_EQ(session->expires_ns, clock_.wall_ns() + 12 * kHourNs);
    EXPECT_EQ(who(session->token)->name, "user/" + anna.to_string());
    EXPECT_EQ(who(session->token)->login, "anna");
    EXPECT_FALSE(who(session->token + "0").ok());
    clock_.advance_ns(11 * kHourNs);
    EXPECT_TRUE(who(session->token).ok());
    close();  // its new end is recorded
    open();
    clock_.advance_ns(11 * kHourNs);
    EXPECT_TRUE(who(session->token).ok());
    clock_.advance_ns(13 * kHourNs);
    EXPECT_FALSE(who(session->token).ok());
}

TEST_F(AccessTest, no_session_outlives_its_last_day_and_logout_ends_it) {
    create_user("anna", "operator");
    const auto session = login("anna", "correct horse");
    for (int i = 0; i < 100; ++i) {
        clock_.advance_ns(8 * kHourNs);
        (void)who(session->token);
    }
    EXPECT_FALSE(who(session->token).ok());
    const auto other = login("anna", "correct horse");
    EXPECT_TRUE(store_.await(access_->logout(other->token)).ok());
    EXPECT_FALSE(who(other->token).ok());
    close();
    open();
    EXPECT_FALSE(who(other->token).ok());
}

TEST_F(AccessTest, secrets_stand_nowhere_in_the_store) {
    create_user("anna", "administrator");
    const auto session = login("anna", "correct horse");
    model::TokenCreate request;
    request.name = "ci";
    request.user = "anna";
    const auto token = store_.await(access_->create_token(request, kRoot));
    ASSERT_TRUE(token.ok()) << token.error().message();
    EXPECT_TRUE(who(token->token).ok());
    const std::string all = everything();
    EXPECT_EQ(all.find("correct horse"), std::string::npos);
    EXPECT_EQ(all.find(session->token), std::string::npos);
    EXPECT_EQ(all.find(token->token), std::string::npos);
    EXPECT_NE(all.find("$argon2id$"), std::string::npos);
}

TEST_F(AccessTest, wrong_logins_say_the_same_and_have_to_wait) {
    create_user("anna", "operator");
    const auto wrong = login("anna", "wrong password", "192.0.2.1");
    const auto unknown = login("nobody", "wrong password", "192.0.2.2");
    ASSERT_FALSE(wrong.ok());
    ASSERT_FALSE(unknown.ok());
    EXPECT_EQ(wrong.error().message(), unknown.error().message());
    for (int i = 0; i < 4; ++i) (void)login("anna", "wrong password", "192.0.2.1");
    // The right one too, from anywhere.
    EXPECT_EQ(login("anna", "correct horse", "192.0.2.9").error().code(), ErrorCode::busy);
    clock_.advance_ns(2'000'000'000);
    EXPECT_TRUE(login("anna", "correct horse").ok());
}

TEST_F(AccessTest, an_address_that_tries_many_names_has_to_wait) {
    create_user("anna", "operator");
    for (int i = 0; i < 30; ++i) (void)login("user" + std::to_string(i), "wrong", "192.0.2.1");
    EXPECT_EQ(login("anna", "correct horse", "192.0.2.1").error().code(), ErrorCode::busy);
    EXPECT_TRUE(login("anna", "correct horse", "192.0.2.2").ok());
}

TEST_F(AccessTest, a_disabled_user_is_out_at_once) {
    create_user("root-user", "administrator");
    create_user("anna", "operator");
    const auto session = login("anna", "correct horse");
    model::UserSet request;
    request.disabled = true;
    commit(plan_user_set(store_.records(), "anna", request, ""));
    EXPECT_FALSE(who(session->token).ok());
    EXPECT_FALSE(login("anna", "correct horse").ok());
}

TEST_F(AccessTest, a_new_password_ends_sessions_and_needs_the_old_one) {
    const Uuid anna = create_user("anna", "operator");
    const auto session = login("anna", "correct horse");
    const http::Principal self{"user/" + anna.to_string(), "anna"};
    clock_.advance_ns(1);
    EXPECT_EQ(
        store_.await(access_->set_password("anna", {"wrong", "new password"}, self)).error().code(),
        ErrorCode::denied);
    EXPECT_TRUE(
        store_.await(access_->set_password("anna", {"correct horse", "new password"}, self)).ok());
    EXPECT_FALSE(who(session->token).ok());
    EXPECT_FALSE(login("anna", "correct horse").ok());
    EXPECT_TRUE(login("anna", "new password").ok());
    EXPECT_TRUE(store_.await(access_->set_password("anna", {"", "third password"}, kRoot)).ok());
    EXPECT_TRUE(login("anna", "third password").ok());
}

TEST_F(AccessTest, a_token_may_what_user_and_token_both_may) {
    const Uuid anna = create_user("anna", "operator");
    const http::Principal self{"user/" + anna.to_string(), "anna"};
    model::TokenCreate request;
    request.name = "ci";
    request.grants = {{"administrator", "/vm"}};
    request.expires_ns = clock_.wall_ns() + kHourNs;
    const auto token = store_.await(access_->create_token(request, self));
    ASSERT_TRUE(token.ok()) << token.error().message();
    const auto principal = who(token->token);
    ASSERT_TRUE(principal.ok());
    EXPECT_EQ(principal->login, "anna (token ci)");
    EXPECT_TRUE(access_->authorize(*principal, "vm.start", "/vm").ok());
    EXPECT_FALSE(access_->authorize(*principal, "vm.exec", "/vm").ok());    // anna may not
    EXPECT_FALSE(access_->authorize(*principal, "volume.set", "/").ok());   // the token may not
    // A token makes no further ones, and nobody makes one for others.
    request.name = "more";
    request.user = "anna";
    EXPECT_EQ(store_.await(access_->create_token(request, *principal)).error().code(),
              ErrorCode::denied);
    create_user("bert", "operator");
    request.user = "bert";
    EXPECT_EQ(store_.await(access_->create_token(request, self)).error().code(), ErrorCode::denied);
    close();
    open();
    EXPECT_TRUE(who(token->token).ok());
    clock_.advance_ns(2 * kHourNs);
    EXPECT_FALSE(who(token->token).ok());
    EXPECT_FALSE(access_->find(principal->name).ok());
    commit(plan_token_delete(store_.records(), "ci", ""));
    EXPECT_FALSE(who(token->token).ok());
}

TEST_F(AccessTest, own_roles_count_and_cannot_go_while_somebody_has_them) {
    task::Ids ids({1, 2});
    commit(plan_role_create(store_.records(), ids, {"starter", {}, {"vm.start"}}));
    const Uuid anna = create_user("anna", "starter");
    const http::Principal self{"user/" + anna.to_string(), "anna"};
    EXPECT_TRUE(access_->authorize(self, "vm.start", "/vm").ok());
    const auto lacks = access_->authorize(self, "vm.stop", "/vm");
    EXPECT_EQ(lacks.error().message(), "anna lacks the permission vm.stop on /vm");
    EXPECT_EQ(plan_role_delete(store_.records(), "starter", "").error().code(), ErrorCode::in_use);
    EXPECT_FALSE(plan_role_create(store_.records(), ids, {"operator", {}, {"vm.*"}}).ok());
    EXPECT_FALSE(plan_role_create(store_.records(), ids, {"bad", {}, {"vm"}}).ok());
}

TEST_F(AccessTest, the_last_administrator_stays) {
    EXPECT_FALSE(access_->has_administrator());
    create_user("anna", "administrator", "");
    EXPECT_FALSE(access_->has_administrator());  // cannot log in
    create_user("root-user", "administrator");
    EXPECT_TRUE(access_->has_administrator());
    EXPECT_EQ(plan_user_delete(store_.records(), "root-user", "").error().code(),
              ErrorCode::in_use);
    model::UserSet request;
    request.grants = std::vector<model::Grant>{{"viewer", "/"}};
    EXPECT_EQ(plan_user_set(store_.records(), "root-user", request, "").error().code(),
              ErrorCode::in_use);
    create_user("second", "administrator");
    commit(plan_user_delete(store_.records(), "root-user", ""));
    EXPECT_EQ(everything().find("root-user"), std::string::npos);
}

TEST_F(AccessTest, who_lost_the_password_gets_back_in) {
    create_user("anna", "viewer");
    const auto session = login("anna", "correct horse");
    model::UserSet request;
    request.disabled = true;
    commit(plan_user_set(store_.records(), "anna", request, ""));
    close();
    clock_.advance_ns(1);
    for (const char* name : {"anna", "rescue"}) {
        const auto done = store_.await(recover_administrator(store_.records(), store_.store(),
                                                             clock_, random_, name, "found again"));
        ASSERT_TRUE(done.ok()) << done.error().message();
    }
    store_.open_again();
    open();
    EXPECT_FALSE(who(session->token).ok());
    EXPECT_TRUE(login("anna", "found again").ok());
    const auto rescued = login("rescue", "found again");
    ASSERT_TRUE(rescued.ok());
    EXPECT_TRUE(access_->authorize(*who(rescued->token), "vm.exec", "/").ok());
    EXPECT_TRUE(access_->has_administrator());
}

TEST(Restored, a_store_that_was_put_back_has_another_epoch_and_no_sessions) {
    records::TestDirectory directory;
    asio::io_context loop;
    uint64_t number = 0;
    state::SqliteOptions options;
    options.path = directory.file("state.db");
    options.new_uuid = [&number] { return records::numbered(++number); };
    Uuid before;
    for (int run = 0; run < 2; ++run) {
        auto store =
            records::await_on(loop, state::SqliteStore::open(loop.get_executor(), options));
        ASSERT_TRUE(store.ok());
        if (run == 0) {
            before = (*store)->epoch();
            state::Txn txn;
            txn.puts = {{"/session/aa", "{}"}, {"/token/secret/x", "{}"}};
            ASSERT_TRUE(records::await_on(loop, (*store)->txn(std::move(txn))).ok());
            const auto tokens = records::await_on(loop, begin_restored(**store));
            ASSERT_TRUE(tokens.ok()) << tokens.error().message();
            EXPECT_EQ(*tokens, 1U);
        } else {
            EXPECT_NE((*store)->epoch(), before);
            EXPECT_FALSE(*records::await_on(loop, (*store)->get("/session/aa")));
        }
        records::await_on(loop, (*store)->close());
    }
}

}  // namespace
}  // namespace stoa::access
