#include "controlplane/task/engine.h"

#include <fstream>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "base/check.h"
#include "controlplane/state/sqlite_store.h"
#include "controlplane/task/record_step.h"
#include "controlplane/task/test_directory.h"

namespace stoa::task {
namespace {

using model::TaskState;

// What steps do, and what they are told to do, beyond the engine's life.
struct Script {
    std::vector<std::string> done;               // "+NAME", "-NAME" (undone)
    std::map<std::string, int> fails;            // so often, by "+NAME" or "-NAME"
    std::map<std::string, bool> holds;           // as long as true it does not end
    std::map<std::string, bool> is_done_before;  // by NAME

    [[nodiscard]] std::string text() const { return fmt::format("{}", fmt::join(done, " ")); }
};

// Arguments: {"name": NAME}.
class ScriptStep final : public StepType {
public:
    ScriptStep(asio::any_io_executor executor, Script& script, std::string type)
        : executor_(std::move(executor)), script_(script), type_(std::move(type)) {}
    [[nodiscard]] std::string_view name() const override { return type_; }
    Async<bool> is_done(StepContext& context) override {
        co_return script_.is_done_before[name_in(context)];
    }
    Async<> run(StepContext& context) override {
        const std::string name = name_in(context);
        context.progress(1, 2, "half of " + name);
        context.result().as_object()[name] = "found out";
        asio::steady_timer timer(executor_);
        while (script_.holds[name]) {
            if (context.cancel_wanted()) {
                co_return Error(ErrorCode::cancelled, "the step was told to end");
            }
            timer.expires_after(std::chrono::milliseconds(1));
            co_await timer.async_wait(kAwait);
        }
        co_return act('+' + name);
    }
    Async<> undo(StepContext& context) override { co_return act('-' + name_in(context)); }

private:
    static std::string name_in(StepContext& context) {
        return std::string(context.step().arguments.at("name").as_string());
    }
    Result<void> act(const std::string& what) {
        if (script_.fails[what]-- > 0) return Error(ErrorCode::io, what + " failed");
        script_.done.push_back(what);
        return {};
    }
    asio::any_io_executor executor_;
    Script& script_;
    std::string type_;
};

class EngineTest : public ::testing::Test {
protected:
    EngineTest() {
        options_.now_ns = [this] { return now_ns_; };
        options_.random = [this] { return random_ += 0x9e3779b97f4a7c15; };
        options_.pause_first = std::chrono::milliseconds(1);
        options_.pause_full = std::chrono::milliseconds(1);
    }
    ~EngineTest() override {
        if (engine_) close();
    }

    template <class T>
    static AsyncVoid keep(asio::awaitable<T> task, std::optional<T>& into) {
        into.emplace(co_await std::move(task));
    }
    template <class T>
    T run(asio::awaitable<T> task) {
        std::optional<T> result;
        run(keep(std::move(task), result));
        return *std::move(result);
    }
    void run(AsyncVoid task) {
        bool over = false;
        asio::co_spawn(loop_, std::move(task), [&over](const std::exception_ptr& left) {
            if (left) std::rethrow_exception(left);
            over = true;
        });
        loop_.restart();
        while (!over) loop_.run_one();
    }
    static AsyncVoid nap(asio::any_io_executor executor) {
        asio::steady_timer timer(executor, std::chrono::milliseconds(2));
        co_await timer.async_wait(kAwait);
    }
    template <class Condition>
    void until(Condition condition) {
        for (int i = 0; i < 5000 && !condition(); ++i) run(nap(loop_.get_executor()));
        EXPECT_TRUE(condition());
    }

    void open() {
        state::SqliteOptions store;
        store.path = directory_.path() / "state.db";
        store.new_uuid = [] { return Uuid::from_random(1, 1); };
        auto opened = run(state::SqliteStore::open(loop_.get_executor(), std::move(store)));
        ASSERT_TRUE(opened.ok()) << opened.error().message();
        store_ = *std::move(opened);
        records_ = *run(records::Records::open(loop_.get_executor(), *store_));
        journal::Options journal;
        journal.directory = directory_.path() / "journal";
        journal.now_ns = options_.now_ns;
        journal_ = *run(journal::Journal::open(loop_.get_executor(), std::move(journal)));
        options_.store = store_.get();
        options_.journal = journal_.get();
        engine_ = Engine::create(loop_.get_executor(), *records_, options_);
        engine_->add(std::make_unique<RecordStep<model::Role>>(*records_));
        engine_->add(std::make_unique<ForgetStep<model::Role>>(*records_));
        if (knows_step_) {
            engine_->add(std::make_unique<ScriptStep>(loop_.get_executor(), script_, "test.step"));
        }
        ASSERT_TRUE(run(engine_->start()).ok());
    }
    void close() {
        run(engine_->close());
        run(journal_->close());
        run(records_->close());
        run(store_->close());
        engine_.reset();
        journal_.reset();
        records_.reset();
        store_.reset();
    }
    void reopen() {
        close();
        open();
    }

    static Plan plan(const std::string& target, const std::vector<std::string>& names) {
        Plan plan;
        plan.verb = "role.test";
        plan.target = target;
        for (const std::string& name : names) {
            plan.steps.push_back({"test.step", JsonObject{{"name", name}}, "does " + name});
        }
        return plan;
    }
    // Its intent makes a role of this name.
    Plan plan_with_role(const std::string& name, const std::vector<std::string>& names) {
        Plan made = plan("role/" + name, names);
        model::Record<model::Role> role;
        role.id = model::make_id(now_ns_, options_.random(), options_.random());
        role.name = name;
        records::create(made.intent, role);
        made.steps.insert(made.steps.begin(),
                          RecordStep<model::Role>::step(role.id, "notes the role"));
        return made;
    }
    Uuid submit(Plan plan) {
        const auto task = run(engine_->submit(std::move(plan), "local/0"));
        EXPECT_TRUE(task.ok()) << task.error().message();
        return task.ok() && *task ? **task : Uuid{};
    }
    Result<Json> wait(const Uuid& task) { return run(engine_->wait(task)); }
    model::TaskStatus status(const Uuid& task) {
        const auto* record = records_->get<model::Task>(task);
        return record == nullptr ? model::TaskStatus{} : record->status;
    }
    bool has_role(const std::string& name) { return records_->find<model::Role>(name).ok(); }
    std::string journal_text() {
        run(journal_->flush());
        std::string text;
        journal::Query query;
        for (const auto& entry : run(journal_->query(query))->entries) text += entry.text + '\n';
        return text;
    }

    TestDirectory directory_;
    asio::io_context loop_;
    Script script_;
    bool knows_step_ = true;
    int64_t now_ns_ = int64_t{1'700'000'000} * 1'000'000'000;
    uint64_t random_ = 1;
    EngineOptions options_;
    std::unique_ptr<state::SqliteStore> store_;
    std::unique_ptr<records::Records> records_;
    std::unique_ptr<journal::Journal> journal_;
    std::unique_ptr<Engine> engine_;
};

TEST_F(EngineTest, a_plan_without_steps_is_done_when_its_intent_is_committed) {
    open();
    Plan only = plan_with_role("a", {});
    only.steps.clear();
    const auto task = run(engine_->submit(only, "local/0"));
    ASSERT_TRUE(task.ok());
    EXPECT_EQ(*task, std::nullopt);
    EXPECT_TRUE(has_role("a"));
    EXPECT_EQ(run(engine_->submit(only, "local/0")).error().code(), ErrorCode::already_exists);
    EXPECT_TRUE(records_->all<model::Task>().empty());
}

TEST_F(EngineTest, steps_run_in_order_and_what_they_find_is_the_result) {
    open();
    script_.is_done_before["b"] = true;
    const Uuid task = submit(plan_with_role("r", {"a", "b", "c"}));
    const auto result = wait(task);
    ASSERT_TRUE(result.ok()) << result.error().message();
    EXPECT_EQ(to_text(*result), R"({"a":"found out","c":"found out"})");
    EXPECT_EQ(script_.text(), "+a +c");
    EXPECT_EQ(status(task).state, TaskState::done);
    EXPECT_EQ(status(task).position, 4U);
    EXPECT_EQ(to_text(status(task).result), to_text(*result));
    EXPECT_EQ(journal_text(), "role.test began\nrole.test done\n");
    EXPECT_EQ(wait(Uuid::from_random(9, 9)).error().code(), ErrorCode::not_found);
}

TEST_F(EngineTest, a_failed_step_is_undone_with_those_before_it) {
    open();
    script_.fails["+c"] = 1;
    script_.fails["-b"] = 2;
    const Uuid task = submit(plan_with_role("r", {"a", "b", "c", "d"}));
    const auto result = wait(task);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().message(), "+c failed");
    EXPECT_EQ(result.error().code(), ErrorCode::io);
    EXPECT_EQ(script_.text(), "+a +b -c -b -a");
    EXPECT_EQ(status(task).state, TaskState::failed);
    EXPECT_FALSE(has_role("r"));
    EXPECT_EQ(journal_text(),
              "role.test began\nrole.test: step 4 (does c) failed: +c failed\n"
              "role.test: step 3 (does b) cannot be undone: -b failed\n"
              "role.test failed: +c failed\n");
}

TEST_F(EngineTest, beyond_the_point_of_no_return_it_is_tried_until_it_succeeds) {
    open();
    script_.fails["+b"] = 3;
    Plan made = plan("role/x", {"a", "b"});
    made.point_of_no_return = 1;
    const Uuid task = submit(made);
    EXPECT_TRUE(wait(task).ok());
    EXPECT_EQ(script_.text(), "+a +b");
    EXPECT_EQ(status(task).error, "");
}

TEST_F(EngineTest, tasks_with_a_common_lock_take_turns_and_say_for_whom_they_wait) {
    open();
    script_.holds["a"] = true;
    const Uuid first = submit(plan("role/x", {"a"}));
    const Uuid second = submit(plan("role/x", {"b"}));
    Plan both = plan("role/y", {"c"});
    both.locks = {"role/y", "role/x"};
    const Uuid third = submit(both);
    const Uuid other = submit(plan("role/z", {"d"}));
    Plan force = plan("role/x", {"e"});
    force.bypasses = true;
    const Uuid bypassing = submit(force);
    EXPECT_TRUE(wait(other).ok());
    EXPECT_TRUE(wait(bypassing).ok());
    until([&] { return engine_->progress(first).text == "half of a"; });
    EXPECT_EQ(status(second).state, TaskState::waiting);
    EXPECT_EQ(status(second).waits_for, first.to_string());
    EXPECT_EQ(status(third).waits_for, second.to_string());
    EXPECT_EQ(engine_->running(), 1U);
    EXPECT_EQ(engine_->unfinished(), 3U);
    script_.holds["a"] = false;
    EXPECT_TRUE(wait(third).ok());
    EXPECT_EQ(script_.text(), "+d +e +a +b +c");
    EXPECT_EQ(status(third).waits_for, "");
}

TEST_F(EngineTest, a_task_that_waits_is_cancelled_at_once_and_its_intent_taken_back) {
    open();
    script_.holds["a"] = true;
    const Uuid first = submit(plan("role/x", {"a"}));
    Plan waits = plan_with_role("r", {"b"});
    waits.locks = {"role/x"};
    const Uuid second = submit(waits);
    EXPECT_TRUE(has_role("r"));
    EXPECT_TRUE(run(engine_->cancel(second)).ok());
    EXPECT_EQ(wait(second).error().code(), ErrorCode::cancelled);
    EXPECT_EQ(status(second).state, TaskState::cancelled);
    EXPECT_FALSE(has_role("r"));
    script_.holds["a"] = false;
    EXPECT_TRUE(wait(first).ok());
    EXPECT_EQ(script_.text(), "+a");
    EXPECT_EQ(run(engine_->cancel(second)).error().code(), ErrorCode::in_use);
    EXPECT_EQ(run(engine_->cancel(Uuid::from_random(9, 9))).error().code(), ErrorCode::not_found);
}

TEST_F(EngineTest, a_running_task_is_cancelled_before_its_next_step_but_not_beyond_return) {
    open();
    script_.holds["b"] = true;
    Plan made = plan("role/x", {"a", "b", "c"});
    made.point_of_no_return = 2;
    const Uuid task = submit(made);
    until([&] { return engine_->progress(task).text == "half of b"; });
    EXPECT_TRUE(run(engine_->cancel(task)).ok());
    EXPECT_FALSE(wait(task).ok());
    EXPECT_EQ(script_.text(), "+a -b -a");
    EXPECT_EQ(status(task).state, TaskState::cancelled);

    script_.holds = {{"c", true}};
    const Uuid late = submit(made);
    until([&] { return engine_->progress(late).text == "half of c"; });
    const auto refused = run(engine_->cancel(late));
    EXPECT_EQ(refused.error().code(), ErrorCode::in_use);
    EXPECT_NE(refused.error().message().find("point of no return"), std::string::npos);
    script_.holds["c"] = false;
    EXPECT_TRUE(wait(late).ok());
}

TEST_F(EngineTest, what_another_process_began_goes_on) {
    open();
    script_.holds["b"] = true;
    const Uuid task = submit(plan("role/x", {"a", "b", "c"}));
    const Uuid next = submit(plan("role/x", {"d"}));
    until([&] { return engine_->progress(task).text == "half of b"; });
    reopen();
    EXPECT_EQ(status(task).state, TaskState::running);
    EXPECT_EQ(status(task).position, 1U);
    script_.holds["b"] = false;
    EXPECT_TRUE(wait(next).ok());
    EXPECT_EQ(script_.text(), "+a +b +c +d");
    EXPECT_EQ(to_text(status(task).result), R"({"a":"found out","b":"found out","c":"found out"})");
}

TEST_F(EngineTest, an_undo_goes_on_in_another_process) {
    open();
    script_.fails["+c"] = 1;
    script_.fails["-b"] = 1'000'000;
    const Uuid task = submit(plan("role/x", {"a", "b", "c"}));
    until([&] { return status(task).state == TaskState::undoing && status(task).position == 2; });
    until([&] { return engine_->progress(task).text.contains("undone again"); });
    reopen();
    script_.fails["-b"] = 0;
    EXPECT_EQ(wait(task).error().message(), "+c failed");
    EXPECT_EQ(script_.text(), "+a +b -c -b -a");
}

TEST_F(EngineTest, a_step_that_is_not_known_is_refused_or_left_alone) {
    open();
    Plan odd = plan("role/x", {"a"});
    odd.steps[0].type = "no.such";
    EXPECT_EQ(run(engine_->submit(odd, "local/0")).error().code(), ErrorCode::invalid_argument);
    script_.holds["a"] = true;
    const Uuid task = submit(plan("role/x", {"a"}));
    until([&] { return engine_->running() == 1; });
    knows_step_ = false;
    reopen();
    EXPECT_EQ(engine_->unfinished(), 1U);
    EXPECT_EQ(engine_->running(), 0U);
    EXPECT_EQ(engine_->progress(task).text, "this program knows no step \"test.step\"");
    knows_step_ = true;
    script_.holds["a"] = false;
    reopen();
    EXPECT_TRUE(wait(task).ok());
}

TEST_F(EngineTest, ended_tasks_are_kept_so_many_and_so_long) {
    options_.keep_max = 10;
    open();
    Uuid last;
    for (int i = 0; i < 30; ++i) {
        now_ns_ += 1'000'000'000;
        last = submit(plan("role/x", {"a"}));
        EXPECT_TRUE(wait(last).ok());
    }
    until([&] { return records_->all<model::Task>().size() <= 11; });
    EXPECT_TRUE(wait(last).ok());
    now_ns_ += options_.keep_ns + 1;
    reopen();
    until([&] { return records_->all<model::Task>().empty(); });
}

TEST_F(EngineTest, a_key_makes_a_change_happen_once) {
    open();
    const OnceKey once{"user/1", "POST /v1/roles", "key", "body"};
    Plan first = plan_with_role("r", {"a"});
    const auto done = run(engine_->submit_once(first, once, JsonObject{{"sent", 1}}));
    ASSERT_TRUE(done.ok()) << done.error().message();
    EXPECT_FALSE(done->is_replay);
    EXPECT_TRUE(wait(*done->task).ok());
    reopen();
    const auto again = run(engine_->submit_once(plan_with_role("r", {"a"}), once));
    ASSERT_TRUE(again.ok()) << again.error().message();
    EXPECT_TRUE(again->is_replay);
    EXPECT_EQ(again->task, done->task);
    EXPECT_EQ(again->target, "role/r");
    EXPECT_EQ(to_text(again->answer), R"({"sent":1})");
    OnceKey other = once;
    other.request = "another body";
    EXPECT_EQ(run(engine_->submit_once(first, other)).error().code(), ErrorCode::already_exists);
    EXPECT_EQ(run(answered_before(*store_, other, now_ns_)).error().code(),
              ErrorCode::already_exists);
    for (OnceKey elsewhere : {OnceKey{"user/2", once.route, "key", "body"},
                              OnceKey{"user/1", "POST /v1/vms", "key", "body"}}) {
        EXPECT_EQ(*run(answered_before(*store_, elsewhere, now_ns_)), std::nullopt);
    }
    EXPECT_EQ(script_.text(), "+a");
}

struct Racer {
    static AsyncVoid one(Engine& engine, Plan plan, OnceKey once,
                         std::vector<Engine::Submitted>& all) {
        auto done = co_await engine.submit_once(std::move(plan), std::move(once));
        EXPECT_TRUE(done.ok()) << done.error().message();
        if (done.ok()) all.push_back(*std::move(done));
    }
    static AsyncVoid race(asio::any_io_executor executor, Engine& engine, std::vector<Plan> plans,
                          OnceKey once, std::vector<Engine::Submitted>& all) {
        Scope scope(executor);
        for (Plan& plan : plans) scope.spawn(one(engine, std::move(plan), once, all));
        co_await scope.join();
    }
};

TEST_F(EngineTest, requests_with_one_key_at_the_same_time_are_done_once) {
    open();
    std::vector<Plan> plans;
    for (int i = 0; i < 5; ++i) plans.push_back(plan_with_role("r", {"a"}));
    std::vector<Engine::Submitted> all;
    run(Racer::race(loop_.get_executor(), *engine_, std::move(plans),
                    {"user/1", "POST /v1/roles", "key", "body"}, all));
    ASSERT_EQ(all.size(), 5U);
    for (const auto& each : all) EXPECT_EQ(each.task, all[0].task);
    EXPECT_TRUE(wait(*all[0].task).ok());
    EXPECT_EQ(script_.text(), "+a");
}

TEST_F(EngineTest, a_key_is_free_again_after_a_day) {
    open();
    const OnceKey once{"user/1", "POST /v1/roles", "key", "body"};
    ASSERT_TRUE(run(engine_->submit_once(plan("role/x", {"a"}), once)).ok());
    now_ns_ += kIdempotencyKeptNs - 1;
    EXPECT_TRUE(run(engine_->submit_once(plan("role/x", {"a"}), once))->is_replay);
    now_ns_ += 1;
    const auto done = run(engine_->submit_once(plan("role/x", {"a"}), once));
    ASSERT_TRUE(done.ok()) << done.error().message();
    EXPECT_FALSE(done->is_replay);
    EXPECT_TRUE(wait(*done->task).ok());
    now_ns_ += kIdempotencyKeptNs;
    ASSERT_TRUE(run(expire_keys(*store_, now_ns_)).ok());
    EXPECT_TRUE(run(store_->list("/idempotency/", "", 10))->entries.empty());
}

// Needs the right to mount; the file system is as small as it takes.
TEST_F(EngineTest, a_full_file_system_makes_tasks_wait_and_says_so) {
    const std::string path = directory_.path().string();
    const std::string mount = fmt::format("mount -t tmpfs -o size=2m none {} 2>/dev/null", path);
    if (std::system(mount.c_str()) != 0) GTEST_SKIP() << "this machine lets nobody mount a tmpfs";
    open();
    script_.holds["a"] = true;
    const Uuid task = submit(plan("role/x", {"a", "b"}));
    until([&] { return engine_->progress(task).text == "half of a"; });
    EXPECT_EQ(engine_->read_only_reason(), std::nullopt);
    std::ofstream(directory_.path() / "ballast") << std::string(size_t{4} << 20, 'x');
    // The last pages of the log may take some more.
    ErrorCode code = ErrorCode::io;
    for (int i = 0; i < 200 && code != ErrorCode::no_space; ++i) {
        Plan large = plan_with_role(fmt::format("r{}", i), {});
        large.steps.clear();
        large.intent.puts.push_back({fmt::format("/ballast/{}", i), std::string(60'000, 'x')});
        const auto done = run(engine_->submit(large, "local/0"));
        if (!done.ok()) code = done.error().code();
    }
    EXPECT_EQ(code, ErrorCode::no_space);
    ASSERT_TRUE(engine_->read_only_reason().has_value());
    EXPECT_NE(engine_->read_only_reason()->find("the file system of the state is full"),
              std::string::npos);
    script_.holds["a"] = false;
    run(nap(loop_.get_executor()));
    std::filesystem::remove(directory_.path() / "ballast");
    EXPECT_TRUE(wait(task).ok());
    until([&] { return !engine_->read_only_reason(); });
    EXPECT_EQ(script_.text(), "+a +b");
    close();
    const std::string unmount = fmt::format("umount {}", path);
    EXPECT_EQ(std::system(unmount.c_str()), 0);
}

}  // namespace
}  // namespace stoa::task
