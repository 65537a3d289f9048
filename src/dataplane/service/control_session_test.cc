#include "dataplane/service/control_session.h"

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "dataplane/io/memory_stream.h"
#include "dataplane/io/reactor.h"

namespace stoa::service {
namespace {

constexpr size_t kAnswerBytes = size_t{17} << 20;

class ControlSessionTest : public testing::Test {
protected:
    // What the client gets for `lines`, having begun to read after `waits` of its calls were run.
    std::string answers(const std::string& lines, size_t waits) {
        auto [near, far] = io::MemoryStream::create(*reactor_, {});
        const Method big = [this](const Json& /*params*/) { return answer_at_length(); };
        ControlSession session(*reactor_, [&big](std::string_view) { return &big; }, events_, *far);
        std::string seen;
        reactor_->run([](ControlSessionTest& test, ControlSession& served, io::Stream& client,
                         const std::string& sent, size_t until,
                         std::string& got) -> io::Task<void> {
            io::TaskGroup group(*test.reactor_);
            group.spawn(served.run());
            const auto written = co_await io::write_all(client, std::as_bytes(std::span(sent)));
            EXPECT_TRUE(written.ok());
            while (test.called_ < until) co_await test.reactor_->sleep_ns(1'000'000);
            const auto expected = std::ranges::count(sent, '\n');
            std::vector<std::byte> buffer(size_t{1} << 20);
            while (std::ranges::count(got, '\n') < expected) {
                const auto piece = co_await client.read_some(buffer);
                if (!piece.ok() || *piece == 0) break;
                got.append(reinterpret_cast<const char*>(buffer.data()), *piece);
            }
            client.shut_down();
            co_await group.join();
        }(*this, session, *near, lines, waits, seen));
        return seen;
    }

    io::Task<Result<Json>> answer_at_length() {
        ++called_;
        co_return Json(std::string(kAnswerBytes, 'x'));
    }

    const std::unique_ptr<io::Reactor> reactor_ = *io::Reactor::create();
    Events events_{*reactor_};
    size_t called_ = 0;
};

const std::string kCall = R"({"jsonrpc":"2.0","id":1,"method":"big"})"
                          "\n";

TEST_F(ControlSessionTest, one_answer_may_be_as_long_as_it_is) {
    const std::string seen = answers(kCall, 0);
    EXPECT_GT(seen.size(), kAnswerBytes);
    EXPECT_TRUE(seen.ends_with("}\n"));
}

TEST_F(ControlSessionTest, who_does_not_read_is_cut_off) {
    // The first is being written, the second waits, the third is too much.
    const std::string seen = answers(kCall + kCall + kCall + kCall, 4);
    EXPECT_LT(seen.size(), 3 * kAnswerBytes);
}

}  // namespace
}  // namespace stoa::service
