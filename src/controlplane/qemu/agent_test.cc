#include "controlplane/qemu/agent.h"

#include <fmt/format.h>

#include "controlplane/qemu/agent_commands.h"
#include "controlplane/qemu/agent_message.h"
#include "controlplane/qemu/guest_test.h"
#include "controlplane/qemu/peer_test.h"

namespace stoa::qemu {
namespace {

class AgentTest : public LoopTest {
protected:
    AgentTest()
        : peer_(loop_.get_executor(), directory_.file("agent.sock")), scope_(loop_.get_executor()),
          agent_(loop_.get_executor(), directory_.file("agent.sock"),
                 {.answer_bytes_max = 1000, .random = [this] { return ++number_; }}) {}

    AsyncVoid answer_sync() {
        const std::string line = co_await peer_.line();
        EXPECT_TRUE(line.starts_with('\xff'));
        const auto command = parse_json(std::string_view(line).substr(1));
        EXPECT_TRUE(command.ok() && text_at(*command, "execute") == "guest-sync-delimited");
        if (!command.ok()) co_return;
        const Json* arguments = member(&*command, "arguments");
        co_await peer_.say(
            fmt::format("\xff{{\"return\":{}}}\n", unsigned_at(*arguments, "id").value_or(0)));
    }
    // Reads the next command and answers with `text`.
    AsyncVoid answer(std::string text) {
        co_await peer_.command();
        co_await peer_.say(text + "\n");
    }
    AsyncVoid ask(milliseconds limit, std::optional<Result<Json>>& into) {
        into = co_await agent_.call("guest-info", {}, limit);
    }
    AsyncVoid run_program(std::optional<Result<AgentExecResult>>& into) {
        AgentExec what;
        what.path = "/bin/true";
        what.arguments = {"a b", "\"c\""};
        what.environment = {{"NAME", "value"}};
        what.input = std::string("\0\1", 2);
        what.output_bytes_max = 4;
        into = co_await exec(agent_, std::move(what));
    }

    AsyncVoid stale();
    AsyncVoid again_after(std::string bad, ErrorCode code);
    AsyncVoid deaf();
    AsyncVoid absent();
    AsyncVoid programs();
    AsyncVoid goes_off();
    AsyncVoid close_early();

    TestDirectory directory_;
    TestPeer peer_;
    Scope scope_;
    uint64_t number_ = 100;
    Agent agent_;
};

AsyncVoid AgentTest::stale() {
    std::optional<Result<Json>> first;
    std::optional<Result<Json>> second;
    scope_.spawn(ask(milliseconds(50), first));
    co_await peer_.let_in();
    co_await answer_sync();
    co_await peer_.command();
    co_await scope_.join();
    EXPECT_TRUE(!first->ok() && first->error().code() == ErrorCode::timeout);
    scope_.spawn(ask(milliseconds(5000), second));
    co_await peer_.say("{\"return\":\"stale\"}\n{\"return\":");  // cut off by the end of the agent
    co_await answer_sync();
    co_await answer("{\"return\":\"fresh\"}");
    co_await scope_.join();
    EXPECT_TRUE(second->ok() && **second == "fresh");
    co_await agent_.close();
}
TEST_F(AgentTest, a_late_answer_is_nobody_elses) { run(stale()); }

AsyncVoid AgentTest::again_after(std::string bad, ErrorCode code) {
    std::optional<Result<Json>> first;
    std::optional<Result<Json>> second;
    scope_.spawn(ask(milliseconds(5000), first));
    co_await peer_.let_in();
    co_await answer_sync();
    co_await answer(std::move(bad));
    co_await scope_.join();
    EXPECT_FALSE(first->ok());
    if (!first->ok()) {
        EXPECT_EQ(first->error().code(), code) << first->error().message();
    }
    scope_.spawn(ask(milliseconds(5000), second));
    // A plain refusal is an answer like any other: the next call need not synchronize.
    const bool is_answer = code == ErrorCode::busy || code == ErrorCode::unsupported;
    if (!is_answer) co_await answer_sync();
    co_await answer("{\"return\":{}}");
    co_await scope_.join();
    EXPECT_TRUE(second->ok());
    co_await agent_.close();
}
TEST_F(AgentTest, goes_on_after_garbage) { run(again_after("\x01{{{", ErrorCode::io)); }
TEST_F(AgentTest, goes_on_after_an_answer_that_is_too_long) {
    run(again_after("{\"return\":\"" + std::string(5000, 'x') + "\"}", ErrorCode::out_of_range));
}
TEST_F(AgentTest, says_that_the_guest_is_frozen) {
    run(again_after(
        R"({"error":{"class":"GenericError","desc":"Command guest-exec has been disabled: the agent is in frozen state"}})",
        ErrorCode::busy));
}
TEST_F(AgentTest, says_that_the_agent_lacks_a_command) {
    run(again_after(
        R"({"error":{"class":"CommandNotFound","desc":"The command x has not been found"}})",
        ErrorCode::unsupported));
}

AsyncVoid AgentTest::deaf() {
    std::optional<Result<Json>> result;
    scope_.spawn(ask(milliseconds(10'000), result));
    co_await peer_.let_in();
    co_await peer_.line();  // an agent that dies with it
    co_await answer_sync();
    co_await answer("{\"return\":7}");
    co_await scope_.join();
    EXPECT_TRUE(result->ok() && **result == 7);
    co_await agent_.close();
}
TEST_F(AgentTest, asks_again_when_the_agent_has_restarted) { run(deaf()); }

AsyncVoid AgentTest::absent() {
    host::SystemRandom random;
    Agent agent(loop_.get_executor(), directory_.file("none.sock"),
                {.random = [&] { return random.next(); }});
    const Result<void> result = co_await ping(agent);
    EXPECT_TRUE(!result.ok() && result.error().code() == ErrorCode::io);
    co_await agent.close();
    co_await agent_.close();
}
TEST_F(AgentTest, without_qemu_it_fails_at_once) { run(absent()); }

AsyncVoid AgentTest::programs() {
    std::optional<Result<AgentExecResult>> result;
    scope_.spawn(run_program(result));
    co_await peer_.let_in();
    co_await answer_sync();
    const Json command = co_await peer_.command();
    EXPECT_EQ(to_text(command.at("arguments")),
              R"({"path":"/bin/true","arg":["a b","\"c\""],"capture-output":true,)"
              R"("env":["NAME=value"],"input-data":"AAE="})");
    co_await peer_.say("{\"return\":{\"pid\":42}}\n");
    co_await answer("{\"return\":{\"exited\":false}}");
    co_await answer(
        R"({"return":{"exited":true,"exitcode":3,"out-data":"aGVsbG8=","err-data":"AAE="}})");
    co_await scope_.join();
    EXPECT_TRUE(result->ok());
    if (result->ok()) {
        EXPECT_EQ((*result)->exit_code, 3);
        EXPECT_EQ((*result)->output, "hell");
        EXPECT_EQ((*result)->error_output, std::string("\0\1", 2));
        EXPECT_TRUE((*result)->is_cut);
    }
    co_await agent_.close();
}
TEST_F(AgentTest, runs_a_program_and_waits_for_its_end) { run(programs()); }

AsyncVoid shut_down(Agent& agent, std::optional<Result<void>>& into) {
    into = co_await shutdown(agent, Shutdown::power_off);
}

AsyncVoid AgentTest::goes_off() {
    std::optional<Result<void>> first;
    scope_.spawn(shut_down(agent_, first));
    co_await peer_.let_in();
    co_await answer_sync();
    co_await answer(R"({"error":{"class":"GenericError","desc":"not now"}})");
    co_await scope_.join();
    EXPECT_TRUE(!first->ok() && first->error().message() == "guest-shutdown: not now");
    std::optional<Result<void>> second;
    scope_.spawn(shut_down(agent_, second));
    const Json command = co_await peer_.command();
    EXPECT_EQ(to_text(command.at("arguments")), R"({"mode":"powerdown"})");
    peer_.hang_up();
    co_await scope_.join();
    EXPECT_TRUE(second->ok());
    co_await agent_.close();
}
TEST_F(AgentTest, a_shutdown_is_refused_or_has_no_answer) { run(goes_off()); }

AsyncVoid AgentTest::close_early() {
    std::optional<Result<Json>> first;
    std::optional<Result<Json>> second;
    scope_.spawn(ask(milliseconds(60'000), first));
    scope_.spawn(ask(milliseconds(60'000), second));
    co_await peer_.let_in();
    co_await answer_sync();
    co_await peer_.command();
    co_await agent_.close();
    co_await scope_.join();
    EXPECT_TRUE(!first->ok() && first->error().code() == ErrorCode::cancelled);
    EXPECT_TRUE(!second->ok() && second->error().code() == ErrorCode::cancelled);
}
TEST_F(AgentTest, closing_ends_all_who_wait) { run(close_early()); }

TEST(AgentMessageTest, what_the_agent_sends_that_is_no_base64_is_its_fault) {
    EXPECT_EQ(*agent_bytes("Zm9v"), "foo");
    for (const std::string bad : {"Z", "Zg=", "Z===", "Zg==Zg==", "Zm9\n", "Zm9v\xff"}) {
        const auto back = agent_bytes(bad);
        ASSERT_FALSE(back.ok()) << bad;
        EXPECT_EQ(back.error().code(), ErrorCode::io);
    }
}

}  // namespace
}  // namespace stoa::qemu
