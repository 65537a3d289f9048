// Each option of the handshake, as a client sees it; and clients that do not keep the rules.
#include "dataplane/serve/nbd/handshake.h"

#include <gtest/gtest.h>

#include "dataplane/serve/nbd/test_client.h"

namespace stoa::nbd {
namespace {

using Answers = std::vector<TestClient::OptionAnswer>;
constexpr uint16_t kBlockSize = static_cast<uint16_t>(Info::block_size);
constexpr uint16_t kName = static_cast<uint16_t>(Info::name);
constexpr uint16_t kDescription = static_cast<uint16_t>(Info::description);

// Of the information of this kind, the payload; "none" if there is none.
std::string info_of(const Answers& answers, Info kind) {
    for (const auto& each : answers) {
        if (each.reply != OptionReply::info) continue;
        Reader from(bytes_of(each.data));
        if (from.take<uint16_t>() == static_cast<uint16_t>(kind)) return each.data.substr(2);
    }
    return "none";
}
uint16_t flags_of(const Answers& answers) {
    const std::string text = info_of(answers, Info::exported);
    Reader from(bytes_of(text));
    EXPECT_EQ(from.take<uint64_t>(), 1U << 20);
    return from.take<uint16_t>();
}
OptionReply end_of(const Answers& answers) { return answers.back().reply; }

TEST(HandshakeTest, go_tells_size_flags_and_constraints_then_serves) {
    TestBench bench;
    TestClient client = bench.connect();
    ASSERT_TRUE(client.greet());
    const Answers answers = client.info(Option::go, "disk", {kBlockSize, kName, kDescription});
    EXPECT_EQ(end_of(answers), OptionReply::ack);
    EXPECT_EQ(flags_of(answers), kHasFlags | kSendFlush | kSendFua | kSendTrim | kSendWriteZeroes |
                                     kCanMultiConn | kSendCache | kSendFastZero);
    Writer constraints;
    constraints.put<uint32_t>(512).put<uint32_t>(4096).put<uint32_t>(32 << 20);
    EXPECT_EQ(info_of(answers, Info::block_size), text_of(constraints.bytes()));
    EXPECT_EQ(info_of(answers, Info::name), "disk");
    EXPECT_EQ(info_of(answers, Info::description), "a disk");
    client.request(Command::read, 0, 512);
    EXPECT_EQ(client.simple(), 0U);
}

TEST(HandshakeTest, info_tells_the_same_and_goes_on) {
    TestBench bench;
    TestClient client = bench.connect();
    ASSERT_TRUE(client.greet());
    const Answers first = client.info(Option::info, "disk", {kName});
    EXPECT_EQ(end_of(first), OptionReply::ack);
    EXPECT_EQ(info_of(first, Info::description), "none");
    Answers again = client.info(Option::go, "disk", {kName});
    for (auto& each : again) each.option = static_cast<uint32_t>(Option::info);
    EXPECT_EQ(again, first);
}

TEST(HandshakeTest, the_empty_name_is_the_default_export) {
    TestBench bench;
    TestClient client = bench.connect();
    ASSERT_TRUE(client.greet());
    EXPECT_EQ(info_of(client.info(Option::go, "", {kName}), Info::name), "disk");
}

TEST(HandshakeTest, an_unknown_export_is_refused_and_another_may_be_chosen) {
    TestBench bench;
    TestClient client = bench.connect();
    ASSERT_TRUE(client.greet());
    EXPECT_EQ(client.info(Option::go, "other"),
              (Answers{{7, OptionReply::error_unknown, "no export \"other\""}}));
    EXPECT_EQ(end_of(client.info(Option::info, "other")), OptionReply::error_unknown);
    EXPECT_EQ(end_of(client.info(Option::go, "disk")), OptionReply::ack);
}

TEST(HandshakeTest, flags_follow_the_export_and_structured_replies) {
    TestBench bench;
    bench.disk.disk().is_read_only = true;
    TestClient client = bench.connect();
    ASSERT_TRUE(client.greet());
    const uint16_t plain = flags_of(client.info(Option::info, ""));
    EXPECT_EQ(plain, kHasFlags | kReadOnly | kSendFlush | kSendFua | kCanMultiConn | kSendCache);
    EXPECT_EQ(client.option(Option::structured_reply), (Answers{{8, OptionReply::ack, ""}}));
    EXPECT_EQ(flags_of(client.info(Option::go, "")), plain | kSendDontFragment);
}

TEST(HandshakeTest, export_name_answers_as_old_clients_expect) {
    TestBench bench;
    for (const bool zeroes : {false, true}) {
        TestClient client = bench.connect();
        ASSERT_TRUE(client.greet(zeroes ? kFixedNewstyle : kFixedNewstyle | kNoZeroes));
        client.send_option(Option::export_name, bytes_of("disk"));
        const std::string answer = client.receive(10 + (zeroes ? kExportNameZeroes : 0));
        Reader from(bytes_of(answer));
        EXPECT_EQ(from.take<uint64_t>(), 1U << 20);
        EXPECT_EQ(from.take<uint16_t>() & kHasFlags, kHasFlags);
        EXPECT_EQ(from.take_text(from.left()), std::string(zeroes ? kExportNameZeroes : 0, '\0'));
        client.request(Command::flush, 0, 0);
        EXPECT_EQ(client.simple(), 0U);
    }
}

TEST(HandshakeTest, export_name_of_an_unknown_export_ends_the_connection) {
    TestBench bench;
    for (const std::string& name : {std::string("other"), std::string(kOptionBytesMax + 1, 'n')}) {
        TestClient client = bench.connect();
        ASSERT_TRUE(client.greet());
        client.send_option(Option::export_name, bytes_of(name));
        EXPECT_TRUE(client.has_been_left());
    }
    EXPECT_EQ(bench.server.counters().handshakes_failed, 2U);
}

TEST(HandshakeTest, list_names_all_exports) {
    TestBench bench;
    bench.table.add(bench.simulator, "second", 4096).description_text = "";
    TestClient client = bench.connect();
    ASSERT_TRUE(client.greet());
    using namespace std::string_literals;
    EXPECT_EQ(client.option(Option::list), (Answers{{3, OptionReply::server, "\0\0\0\4diska disk"s},
                                                    {3, OptionReply::server, "\0\0\0\6second"s},
                                                    {3, OptionReply::ack, ""}}));
}

TEST(HandshakeTest, abort_is_acknowledged_and_ends_the_connection) {
    TestBench bench;
    TestClient client = bench.connect();
    ASSERT_TRUE(client.greet());
    EXPECT_EQ(client.option(Option::abort, bytes_of("ignored")),
              (Answers{{2, OptionReply::ack, ""}}));
    EXPECT_TRUE(client.has_been_left());
    EXPECT_EQ(bench.server.counters().handshakes_failed, 0U);
}

TEST(HandshakeTest, options_without_data_refuse_data) {
    TestBench bench;
    TestClient client = bench.connect();
    ASSERT_TRUE(client.greet());
    for (const Option option : {Option::list, Option::starttls, Option::structured_reply}) {
        EXPECT_EQ(end_of(client.option(option, bytes_of("x"))), OptionReply::error_invalid);
    }
    EXPECT_EQ(end_of(client.info(Option::go, "")), OptionReply::ack);
}

TEST(HandshakeTest, unknown_options_are_unsupported_and_their_data_passed_over) {
    TestBench bench;
    TestClient client = bench.connect();
    ASSERT_TRUE(client.greet());
    for (const uint32_t option : {0U, 4U, 11U, 4711U, UINT32_MAX}) {
        EXPECT_EQ(client.option(static_cast<Option>(option), bytes_of("some data")),
                  (Answers{{option, OptionReply::error_unsupported, ""}}));
    }
    EXPECT_EQ(end_of(client.info(Option::go, "")), OptionReply::ack);
}

TEST(HandshakeTest, malformed_data_is_refused_and_the_handshake_goes_on) {
    TestBench bench;
    TestClient client = bench.connect();
    ASSERT_TRUE(client.greet());
    for (const Option option :
         {Option::info, Option::go, Option::list_meta_context, Option::set_meta_context}) {
        EXPECT_EQ(end_of(client.option(option, bytes_of("xxxxx"))), OptionReply::error_invalid);
        EXPECT_EQ(end_of(client.option(option)), OptionReply::error_invalid);
    }
    EXPECT_EQ(end_of(client.info(Option::go, "")), OptionReply::ack);
}

TEST(HandshakeTest, long_options_are_too_big_and_endless_ones_end_the_connection) {
    TestBench bench;
    TestClient client = bench.connect();
    ASSERT_TRUE(client.greet());
    const std::string long_data(kOptionBytesMax + 1, 'x');
    EXPECT_EQ(end_of(client.option(Option::info, bytes_of(long_data))), OptionReply::error_too_big);
    Writer endless;
    endless.put(kOptionMagic).put(static_cast<uint32_t>(Option::info)).put(UINT32_MAX);
    client.send(endless.bytes());
    EXPECT_TRUE(client.has_been_left());
}

// ---- metadata contexts

TEST(HandshakeTest, contexts_are_listed_by_namespace_and_by_name) {
    TestBench bench;
    TestClient client = bench.connect();
    ASSERT_TRUE(client.greet());
    const auto list = [&](std::vector<std::string> queries) {
        return TestClient::names(
            client.meta(Option::list_meta_context, "disk", std::move(queries)));
    };
    EXPECT_EQ(list({}), "base:allocation test:even test:odd ");
    EXPECT_EQ(list({"base:"}), "base:allocation ");
    EXPECT_EQ(list({"test:"}), "test:even test:odd ");
    EXPECT_EQ(list({"test:odd", "base:allocation", "test:odd"}), "test:odd base:allocation ");
    EXPECT_EQ(list({"test:number=5"}), "test:number=5 ");
    EXPECT_EQ(list({"base:unknown", "other:", "test", ""}), "");
}

TEST(HandshakeTest, contexts_are_chosen_by_name_only) {
    TestBench bench;
    TestClient client = bench.connect();
    ASSERT_TRUE(client.greet());
    const auto set = [&](std::vector<std::string> queries) {
        return TestClient::names(client.meta(Option::set_meta_context, "disk", std::move(queries)));
    };
    EXPECT_EQ(set({"base:allocation"}), "error");  // structured replies come first
    EXPECT_EQ(end_of(client.option(Option::structured_reply)), OptionReply::ack);
    EXPECT_EQ(set({}), "");
    EXPECT_EQ(set({"base:", "test:"}), "");
    EXPECT_EQ(set({"test:odd", "base:allocation", "other:x"}), "test:odd base:allocation ");
    EXPECT_EQ(end_of(client.meta(Option::set_meta_context, "other", {})),
              OptionReply::error_unknown);
}

TEST(HandshakeTest, a_choice_of_contexts_replaces_the_one_before_even_when_it_fails) {
    for (const bool fails : {false, true}) {
        TestBench bench;
        TestClient client = bench.connect();
        ASSERT_TRUE(client.greet());
        client.option(Option::structured_reply);
        client.meta(Option::set_meta_context, "", {"base:allocation", "test:odd"});
        if (fails) client.option(Option::set_meta_context, bytes_of("x"));
        else client.meta(Option::set_meta_context, "", {"test:odd"});
        ASSERT_EQ(end_of(client.info(Option::go, "")), OptionReply::ack);
        client.request(Command::block_status, 0, 4096);
        const auto pieces = client.structured();
        ASSERT_EQ(pieces.size(), 1U);
        EXPECT_EQ(pieces[0].type, fails ? Chunk::error : Chunk::block_status);
    }
}

TEST(HandshakeTest, a_context_that_goes_while_it_is_chosen_is_left_out) {
    TestBench bench;
    bench.table.add(bench.simulator, "second", 1 << 20).times_number = 1;
    TestClient client = bench.connect();
    ASSERT_TRUE(client.greet());
    client.option(Option::structured_reply);
    EXPECT_EQ(TestClient::names(client.meta(Option::set_meta_context, "second",
                                            {"test:number=5", "base:allocation"})),
              "base:allocation ");
}

TEST(HandshakeTest, contexts_belong_to_the_export_they_were_chosen_for) {
    TestBench bench;
    bench.table.add(bench.simulator, "second", 1 << 20);
    TestClient client = bench.connect();
    ASSERT_TRUE(client.greet());
    client.option(Option::structured_reply);
    client.meta(Option::set_meta_context, "second", {"base:allocation"});
    ASSERT_EQ(end_of(client.info(Option::go, "disk")), OptionReply::ack);
    EXPECT_EQ(client.ask(Command::block_status, 0, 4096), 22U);
}

TEST(HandshakeTest, too_many_contexts_or_queries_are_too_big) {
    TestBench bench;
    TestClient client = bench.connect();
    ASSERT_TRUE(client.greet());
    client.option(Option::structured_reply);
    std::vector<std::string> queries;
    while (queries.size() < 17) queries.push_back("test:number=" + std::to_string(queries.size()));
    EXPECT_EQ(end_of(client.meta(Option::set_meta_context, "", queries)),
              OptionReply::error_too_big);
    queries.resize(16);
    EXPECT_EQ(end_of(client.meta(Option::set_meta_context, "", queries)), OptionReply::ack);
    queries.assign(1000, "other:x");
    EXPECT_EQ(end_of(client.meta(Option::list_meta_context, "", queries)),
              OptionReply::error_too_big);
}

// ---- TLS

// Stands for TLS: the same stream under another name, or a failure.
class FakeTls final : public TlsUpgrade {
public:
    bool fails = false;
    int upgrades = 0;
    io::Task<Result<std::unique_ptr<io::Stream>>> encrypt(
        std::unique_ptr<io::Stream> plain) override {
        ++upgrades;
        if (fails) co_return Error(ErrorCode::io, "no certificate");
        co_return std::move(plain);
    }
};

ServerOptions with_tls(FakeTls& tls, bool required) {
    ServerOptions options;
    options.handshake.tls = &tls;
    options.handshake.tls_required = required;
    return options;
}

TEST(HandshakeTest, tls_that_is_not_offered_is_refused) {
    TestBench bench;
    TestClient client = bench.connect();
    ASSERT_TRUE(client.greet());
    EXPECT_EQ(end_of(client.option(Option::starttls)), OptionReply::error_policy);
    EXPECT_EQ(end_of(client.info(Option::go, "")), OptionReply::ack);
}

TEST(HandshakeTest, tls_forgets_what_was_agreed_in_the_clear) {
    FakeTls tls;
    TestBench bench(with_tls(tls, false));
    TestClient client = bench.connect();
    ASSERT_TRUE(client.greet());
    client.option(Option::structured_reply);
    client.meta(Option::set_meta_context, "", {"base:allocation"});
    EXPECT_EQ(client.option(Option::starttls), (Answers{{5, OptionReply::ack, ""}}));
    EXPECT_EQ(end_of(client.option(Option::starttls)), OptionReply::error_invalid);
    EXPECT_EQ(flags_of(client.info(Option::go, "")) & kSendDontFragment, 0);
    client.request(Command::block_status, 0, 4096);
    EXPECT_EQ(client.simple(), 22U);
    EXPECT_EQ(tls.upgrades, 1);
}

TEST(HandshakeTest, required_tls_comes_before_everything_but_leaving) {
    FakeTls tls;
    TestBench bench(with_tls(tls, true));
    TestClient client = bench.connect();
    ASSERT_TRUE(client.greet());
    for (const Option option :
         {Option::list, Option::info, Option::go, Option::structured_reply,
          Option::list_meta_context, Option::set_meta_context, static_cast<Option>(4711)}) {
        EXPECT_EQ(end_of(client.option(option)), OptionReply::error_tls_required);
    }
    EXPECT_EQ(end_of(client.option(Option::starttls)), OptionReply::ack);
    EXPECT_EQ(end_of(client.info(Option::go, "")), OptionReply::ack);
    TestClient leaving = bench.connect();
    ASSERT_TRUE(leaving.greet());
    EXPECT_EQ(end_of(leaving.option(Option::abort)), OptionReply::ack);
    TestClient old = bench.connect();
    ASSERT_TRUE(old.greet());
    old.send_option(Option::export_name, bytes_of("disk"));
    EXPECT_TRUE(old.has_been_left());
}

TEST(HandshakeTest, failed_tls_ends_the_connection) {
    FakeTls tls;
    tls.fails = true;
    TestBench bench(with_tls(tls, false));
    TestClient client = bench.connect();
    ASSERT_TRUE(client.greet());
    EXPECT_EQ(end_of(client.option(Option::starttls)), OptionReply::ack);
    EXPECT_TRUE(client.has_been_left());
}

// ---- those who do not keep the rules

TEST(HandshakeTest, unknown_client_flags_end_the_connection) {
    TestBench bench;
    for (const uint32_t flags :
         {uint32_t{0}, uint32_t{kNoZeroes}, uint32_t{kFixedNewstyle | 4}, UINT32_MAX}) {
        TestClient client = bench.connect();
        ASSERT_TRUE(client.greet(flags));
        EXPECT_TRUE(client.has_been_left()) << flags;
    }
}

TEST(HandshakeTest, garbage_ends_the_connection) {
    TestBench bench;
    TestClient client = bench.connect();
    ASSERT_TRUE(client.greet());
    client.send(bytes_of("GET / HTTP/1.1\r\n\r\n"));
    EXPECT_TRUE(client.has_been_left());
}

TEST(HandshakeTest, a_client_that_hangs_up_anywhere_leaves_nothing) {
    Writer whole;
    whole.put(uint32_t{kFixedNewstyle | kNoZeroes});
    encode_option(whole, Option::structured_reply, {});
    Writer go;
    encode_info_request(go, {"disk", {3}});
    encode_option(whole, Option::go, go.bytes());
    TestBench bench;
    for (size_t size = 0; size < whole.bytes().size(); ++size) {
        TestClient client = bench.connect();
        client.send(ConstBytes(whole.bytes()).first(size));
        client.hang_up();
        bench.simulator.run_for(1'000'000);
        EXPECT_EQ(bench.server.counters().connections, 0U) << size;
    }
}

TEST(HandshakeTest, a_byte_at_a_time_is_as_good_as_all_at_once) {
    TestBench bench;
    TestClient client = bench.connect({.buffered_bytes = 3, .piece_bytes = 1});
    client.go(true, {"base:allocation", "test:odd"});
    EXPECT_EQ(client.ask(Command::flush, 0, 0), 0U);
}

TEST(HandshakeTest, who_says_nothing_or_trickles_is_cut_off_in_time) {
    ServerOptions options;
    options.handshake_ns = 5'000'000'000;
    TestBench bench(options);
    TestClient silent = bench.connect();
    TestClient trickling = bench.connect();
    TestClient quick = bench.connect();
    quick.go();
    ASSERT_TRUE(trickling.greet());
    Writer option;
    encode_option(option, Option::list, {});
    for (size_t i = 0; i < 4; ++i) {
        EXPECT_TRUE(trickling.send(ConstBytes(option.bytes()).subspan(i, 1)));
        bench.simulator.run_for(1'000'000'000);
    }
    EXPECT_EQ(bench.server.counters().connections, 3U);
    bench.simulator.run_for(1'200'000'000);
    EXPECT_EQ(bench.server.counters().connections, 1U);
    EXPECT_EQ(bench.server.counters().handshakes_failed, 2U);
    EXPECT_EQ(quick.ask(Command::flush, 0, 0), 0U);
}

TEST(HandshakeTest, who_never_chooses_is_cut_off_after_so_many_options) {
    ServerOptions options;
    options.handshake.options_max = 10;
    TestBench bench(options);
    TestClient client = bench.connect();
    ASSERT_TRUE(client.greet());
    for (int i = 0; i < 10; ++i) {
        EXPECT_EQ(end_of(client.option(Option::list)), OptionReply::ack);
    }
    EXPECT_TRUE(client.has_been_left());
}

}  // namespace
}  // namespace stoa::nbd
