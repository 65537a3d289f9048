#include "controlplane/task/plan_tokens.h"

#include <gtest/gtest.h>

namespace stoa::task {
namespace {

class PlanTokensTest : public ::testing::Test {
protected:
    static Plan plan(const std::string& text = "makes a disk") {
        Plan plan;
        plan.verb = "vm.create";
        plan.target = "vm/1";
        plan.locks = {"vm/1"};
        plan.steps.push_back({"volume.create", JsonObject{{"size_bytes", 1}}, text});
        plan.intent.compares.push_back({"/vm/spec/1", state::Revision{7}});
        plan.intent.puts.push_back({"/vm/spec/1", "{}"});
        return plan;
    }
    int64_t now_ns_ = 1000;
    uint64_t random_ = 0;
    PlanTokens tokens_{
        {.now_ns = [this] { return now_ns_; }, .random = [this] { return ++random_; }}};
};

TEST_F(PlanTokensTest, the_plan_that_was_shown_is_executed_once) {
    const std::string token = tokens_.keep(plan(), {5, 6}, "user/1");
    EXPECT_EQ(token.size(), 32U);
    EXPECT_EQ(tokens_.seed_of(token, "user/1")->random, 6U);
    EXPECT_EQ(tokens_.seed_of(token, "user/2").error().code(), ErrorCode::gone);
    EXPECT_TRUE(tokens_.take(token, "user/1", plan()).ok());
    EXPECT_EQ(tokens_.take(token, "user/1", plan()).error().code(), ErrorCode::gone);
}

TEST_F(PlanTokensTest, what_is_different_is_said_a_line_each) {
    const std::string token = tokens_.keep(plan(), {5, 6}, "user/1");
    Plan now = plan("makes two disks");
    now.steps.push_back({"x", nullptr, "more"});
    now.intent.compares[0].revision = state::Revision{8};
    now.intent.puts[0].value = "{ }";
    const auto done = tokens_.take(token, "user/1", now);
    ASSERT_FALSE(done.ok());
    EXPECT_EQ(done.error().code(), ErrorCode::conflict);
    EXPECT_EQ(done.error().message(),
              "the plan that was shown would do something else now:\n"
              "step 1 was \"makes a disk\", now it is \"makes two disks\"\n"
              "step 2 is new: more\n"
              "vm 1 was changed meanwhile\n"
              "vm 1 would become something else");
    EXPECT_TRUE(tokens_.take(token, "user/1", plan()).ok());
}

TEST_F(PlanTokensTest, every_part_of_a_plan_counts) {
    EXPECT_EQ(difference(plan(), plan()), "");
    std::vector<Plan> others(7, plan());
    others[0].verb = "vm.set";
    others[1].target = "vm/2";
    others[2].locks.push_back("pool/1");
    others[3].steps[0].arguments = JsonObject{{"size_bytes", 2}};
    others[4].intent.deletes.emplace_back("/vm/name/a");
    others[5].point_of_no_return = 0;
    others[6].steps.clear();
    for (const Plan& other : others) {
        EXPECT_NE(difference(plan(), other), "");
        EXPECT_NE(difference(other, plan()), "");
    }
}

TEST_F(PlanTokensTest, plans_are_forgotten_after_a_while_and_when_there_are_many) {
    const std::string old = tokens_.keep(plan(), {}, "u");
    now_ns_ += int64_t{15} * 60 * 1'000'000'000 - 1;
    EXPECT_TRUE(tokens_.seed_of(old, "u").ok());
    now_ns_ += 1;
    EXPECT_EQ(tokens_.seed_of(old, "u").error().code(), ErrorCode::gone);
    const std::string first = tokens_.keep(plan(), {}, "u");
    const std::string second = tokens_.keep(plan(), {}, "u");
    for (int i = 0; i < 999; ++i) tokens_.keep(plan(), {}, "u");
    EXPECT_FALSE(tokens_.seed_of(first, "u").ok());
    EXPECT_TRUE(tokens_.seed_of(second, "u").ok());
}

TEST_F(PlanTokensTest, the_same_seed_gives_the_same_ids_and_no_id_twice) {
    Ids one({1'700'000'000'000'000'000, 42});
    Ids again(one.seed());
    Ids other({1'700'000'000'000'000'000, 43});
    const Uuid first = one.next();
    EXPECT_EQ(first, again.next());
    EXPECT_NE(first, one.next());
    EXPECT_NE(first, other.next());
    EXPECT_EQ(first.to_string()[14], '7');
}

}  // namespace
}  // namespace stoa::task
