#include "controlplane/qemu/qmp.h"

#include <fmt/format.h>

#include "controlplane/qemu/guest_test.h"
#include "controlplane/qemu/peer_test.h"

namespace stoa::qemu {
namespace {

constexpr std::string_view kGreeting =
    R"({"QMP":{"version":{"qemu":{"micro":1,"minor":2,"major":7},"package":""},"capabilities":[]}})";

class QmpTest : public LoopTest {
protected:
    QmpTest()
        : peer_(loop_.get_executor(), directory_.file("qmp.sock")), scope_(loop_.get_executor()) {}

    // The peer greets and takes the negotiation.
    AsyncVoid welcome() {
        co_await peer_.let_in();
        co_await peer_.say(std::string(kGreeting) + "\r\n");
        const Json command = co_await peer_.command();
        EXPECT_EQ(text_at(command, "execute"), "qmp_capabilities");
        co_await answer(command, "{}");
    }
    AsyncVoid answer(Json command, std::string value) {
        co_await peer_.say(fmt::format("{{\"return\":{},\"id\":{}}}\n", value,
                                       unsigned_at(command, "id").value_or(0)));
    }
    // A connection, welcomed.
    asio::awaitable<std::unique_ptr<Qmp>> connected(QmpOptions options = {}) {
        scope_.spawn(welcome());
        auto qmp = co_await Qmp::connect(directory_.file("qmp.sock"), milliseconds(5000), options);
        EXPECT_TRUE(qmp.ok()) << qmp.error().message();
        co_await scope_.join();
        co_return qmp.ok() ? *std::move(qmp) : nullptr;
    }
    AsyncVoid keep_call(Qmp& qmp, std::string name, milliseconds limit,
                        std::optional<Result<Json>>& into) {
        into = co_await qmp.call(std::move(name), {}, limit);
    }
    AsyncVoid keep_event(Qmp& qmp, std::optional<Result<QmpEvent>>& into) {
        into = co_await qmp.next_event();
    }

    AsyncVoid out_of_order();
    AsyncVoid late();
    AsyncVoid silent();
    AsyncVoid events();
    AsyncVoid refusals();
    AsyncVoid loses(std::string last_words, std::string reason);
    AsyncVoid close_early();
    AsyncVoid too_many();

    TestDirectory directory_;
    TestPeer peer_;
    Scope scope_;
};

AsyncVoid QmpTest::out_of_order() {
    const auto qmp = co_await connected();
    EXPECT_EQ(qmp->version(), "7.2.1");
    std::optional<Result<Json>> first;
    std::optional<Result<Json>> second;
    scope_.spawn(keep_call(*qmp, "one", milliseconds(5000), first));
    scope_.spawn(keep_call(*qmp, "two", milliseconds(5000), second));
    const Json one = co_await peer_.command();
    const Json two = co_await peer_.command();
    EXPECT_EQ(text_at(two, "execute"), "two");
    co_await answer(two, "2");
    co_await answer(one, "1");
    co_await scope_.join();
    EXPECT_TRUE(first->ok() && **first == 1);
    EXPECT_TRUE(second->ok() && **second == 2);
    co_await qmp->close();
}
TEST_F(QmpTest, answers_find_their_calls_in_any_order) { run(out_of_order()); }

AsyncVoid QmpTest::late() {
    const auto qmp = co_await connected();
    const auto given_up = co_await qmp->call("slow", {}, milliseconds(30));
    EXPECT_TRUE(!given_up.ok() && given_up.error().code() == ErrorCode::timeout);
    EXPECT_EQ(given_up.error().message(), "slow: no answer within 0.03 s");
    std::optional<Result<Json>> next;
    scope_.spawn(keep_call(*qmp, "next", milliseconds(5000), next));
    const Json slow = co_await peer_.command();
    const Json wanted = co_await peer_.command();
    co_await answer(slow, "\"late\"");
    co_await answer(wanted, "\"mine\"");
    co_await scope_.join();
    EXPECT_TRUE(next->ok() && **next == "mine");
    co_await qmp->close();
}
TEST_F(QmpTest, a_late_answer_is_nobody_elses) { run(late()); }

AsyncVoid QmpTest::silent() {
    scope_.spawn(peer_.let_in());
    const auto qmp = co_await Qmp::connect(directory_.file("qmp.sock"), milliseconds(50));
    EXPECT_TRUE(!qmp.ok() && qmp.error().code() == ErrorCode::timeout);
    const auto absent = co_await Qmp::connect(directory_.file("no.sock"), milliseconds(50));
    EXPECT_TRUE(!absent.ok() && absent.error().code() == ErrorCode::timeout);
    const auto endless = co_await Qmp::connect(std::string(200, 'x'), milliseconds(50));
    EXPECT_TRUE(!endless.ok() && endless.error().code() == ErrorCode::invalid_argument);
    co_await scope_.join();
}
TEST_F(QmpTest, a_qemu_that_says_nothing_is_given_up) { run(silent()); }

AsyncVoid QmpTest::events() {
    QmpOptions options;
    options.events_max = 2;
    const auto qmp = co_await connected(options);
    std::optional<Result<QmpEvent>> waited;
    scope_.spawn(keep_event(*qmp, waited));
    co_await peer_.say(
        R"({"timestamp":{"seconds":2,"microseconds":3},"event":"STOP","data":{"a":1}})"
        "\n");
    co_await scope_.join();
    EXPECT_TRUE(waited->ok() && (*waited)->name == "STOP" && (*waited)->time_us == 2'000'003);
    EXPECT_EQ(integer_at((*waited)->data, "a"), 1);
    for (int i = 0; i < 4; ++i) co_await peer_.say(fmt::format("{{\"event\":\"E{}\"}}\n", i));
    while (qmp->events_lost() < 2) co_await pause(milliseconds(1));
    for (const std::string name : {"E2", "E3"}) {
        const auto event = co_await qmp->next_event();
        EXPECT_TRUE(event.ok() && event->name == name);
    }
    co_await qmp->close();
}
TEST_F(QmpTest, events_come_in_order_and_the_oldest_are_displaced) { run(events()); }

AsyncVoid QmpTest::refusals() {
    const auto qmp = co_await connected();
    const std::pair<std::string, ErrorCode> cases[] = {{"GenericError", ErrorCode::io},
                                                       {"DeviceNotFound", ErrorCode::not_found},
                                                       {"CommandNotFound", ErrorCode::unsupported}};
    for (const auto& [kind, code] : cases) {
        std::optional<Result<Json>> result;
        scope_.spawn(keep_call(*qmp, "it", milliseconds(5000), result));
        const Json command = co_await peer_.command();
        co_await peer_.say(
            fmt::format("{{\"error\":{{\"class\":\"{}\",\"desc\":\"no\\u001b[2J\"}},\"id\":{}}}\n",
                        kind, unsigned_at(command, "id").value_or(0)));
        co_await scope_.join();
        EXPECT_TRUE(!result->ok() && result->error().code() == code);
        EXPECT_EQ(result->error().message(), "it: no?[2J");
    }
    co_await qmp->close();
}
TEST_F(QmpTest, refusals_have_a_code_and_clean_words) { run(refusals()); }

AsyncVoid QmpTest::loses(std::string last_words, std::string reason) {
    QmpOptions options;
    options.line_bytes_max = 1000;
    const auto qmp = co_await connected(options);
    std::optional<Result<Json>> call;
    std::optional<Result<QmpEvent>> event;
    scope_.spawn(keep_call(*qmp, "it", milliseconds(5000), call));
    scope_.spawn(keep_event(*qmp, event));
    co_await peer_.command();
    co_await peer_.say(std::move(last_words));
    peer_.hang_up();
    co_await scope_.join();
    EXPECT_FALSE(qmp->is_connected());
    EXPECT_TRUE(!call->ok() && !event->ok());
    EXPECT_TRUE(call->error().message().contains(reason)) << call->error().message();
    const auto after = co_await qmp->call("it");
    EXPECT_FALSE(after.ok());
    co_await qmp->close();
}
TEST_F(QmpTest, the_end_of_qemu_ends_all_calls) { run(loses("", "ended the connection")); }
TEST_F(QmpTest, garbage_ends_all_calls) { run(loses("{]\n", "not JSON")); }
TEST_F(QmpTest, a_message_of_no_kind_ends_all_calls) { run(loses("{}\n", "not a message")); }
TEST_F(QmpTest, a_line_without_end_ends_all_calls) {
    run(loses(std::string(5000, 'x') + "\n", "more than 1000 bytes"));
}

AsyncVoid QmpTest::close_early() {
    const auto qmp = co_await connected();
    std::optional<Result<Json>> call;
    std::optional<Result<QmpEvent>> event;
    scope_.spawn(keep_call(*qmp, "it", milliseconds(5000), call));
    scope_.spawn(keep_event(*qmp, event));
    co_await peer_.command();
    co_await qmp->close();
    co_await scope_.join();
    EXPECT_TRUE(!call->ok() && call->error().code() == ErrorCode::cancelled);
    EXPECT_TRUE(!event->ok() && event->error().code() == ErrorCode::cancelled);
}
TEST_F(QmpTest, closing_ends_all_who_wait) { run(close_early()); }

AsyncVoid QmpTest::too_many() {
    QmpOptions options;
    options.calls_max = 1;
    const auto qmp = co_await connected(options);
    std::optional<Result<Json>> first;
    scope_.spawn(keep_call(*qmp, "one", milliseconds(5000), first));
    co_await peer_.command();
    const auto second = co_await qmp->call("two");
    EXPECT_TRUE(!second.ok() && second.error().code() == ErrorCode::busy);
    co_await qmp->close();
    co_await scope_.join();
}
TEST_F(QmpTest, calls_under_way_have_a_bound) { run(too_many()); }

}  // namespace
}  // namespace stoa::qemu
