#include "controlplane/access/certificates.h"

#include <gtest/gtest.h>

#include <sys/stat.h>

#include <boost/asio/steady_timer.hpp>

#include "controlplane/access/certificate_keeper.h"
#include "controlplane/async/scope.h"
#include "controlplane/host/files.h"
#include "controlplane/records/test_store.h"

namespace stoa::access {
namespace {

constexpr int64_t kDayNs = int64_t{86'400} * 1'000'000'000;

class CertificatesTest : public testing::Test {
protected:
    CertificatesTest() {
        options_.directory = directory_.file("tls");
        options_.instance = "1a2b3c4d";
        options_.now_ns = int64_t{1'790'000'000} * 1'000'000'000;
    }
    Certificates ensure() {
        auto made = ensure_certificates(options_);
        EXPECT_TRUE(made.ok()) << made.error().message();
        return made.ok() ? *std::move(made) : Certificates();
    }

    records::TestDirectory directory_;
    CertificateOptions options_;
};

TEST_F(CertificatesTest, what_is_made_once_is_there_again) {
    const Certificates first = ensure();
    EXPECT_TRUE(first.is_new);
    EXPECT_EQ(first.fingerprint.size(), 95U);
    EXPECT_EQ(first.leaf_ends_ns, options_.now_ns + 90 * kDayNs);
    EXPECT_EQ(first.renew_ns, options_.now_ns + 60 * kDayNs);
    const Certificates second = ensure();
    EXPECT_FALSE(second.is_new);
    EXPECT_EQ(second.chain_pem, first.chain_pem);
    EXPECT_EQ(second.key_pem, first.key_pem);
}

TEST_F(CertificatesTest, keys_are_for_their_owner_alone) {
    ensure();
    for (const char* name : {"ca.key", "leaf.key", "ca.pem", "leaf.pem"}) {
        struct stat facts{};
        ASSERT_EQ(stat((options_.directory + "/" + name).c_str(), &facts), 0) << name;
        EXPECT_EQ(facts.st_mode & 0777U, 0600U) << name;
    }
}

TEST_F(CertificatesTest, the_leaf_is_renewed_after_two_thirds_and_the_authority_stays) {
    const Certificates first = ensure();
    options_.now_ns += 59 * kDayNs;
    EXPECT_FALSE(ensure().is_new);
    options_.now_ns += 2 * kDayNs;
    const Certificates renewed = ensure();
    EXPECT_TRUE(renewed.is_new);
    EXPECT_EQ(renewed.fingerprint, first.fingerprint);
    EXPECT_NE(renewed.chain_pem, first.chain_pem);
}

TEST_F(CertificatesTest, an_expired_damaged_or_unfitting_leaf_is_replaced) {
    ensure();
    options_.now_ns += 200 * kDayNs;
    EXPECT_TRUE(ensure().is_new);
    ASSERT_TRUE(host::replace_file(options_.directory + "/leaf.key", "garbage").ok());
    EXPECT_TRUE(ensure().is_new);
    options_.names.push_back("host.example.org");
    options_.names.push_back("192.0.2.7");
    EXPECT_TRUE(ensure().is_new);
    EXPECT_FALSE(ensure().is_new);
    options_.make_anew = true;
    EXPECT_TRUE(ensure().is_new);
}

TEST_F(CertificatesTest, a_broken_authority_is_not_replaced_behind_the_clients_backs) {
    ensure();
    ASSERT_TRUE(host::replace_file(options_.directory + "/ca.key", "garbage").ok());
    const auto broken = ensure_certificates(options_);
    ASSERT_FALSE(broken.ok());
    EXPECT_EQ(broken.error().code(), ErrorCode::corrupt);
    EXPECT_NE(broken.error().message().find("remove both"), std::string::npos);
}

AsyncVoid wait_until_seen(Scope& scope, const size_t& seen, size_t wanted) {
    asio::steady_timer timer(co_await asio::this_coro::executor);
    for (int i = 0; i < 500 && seen < wanted; ++i) {
        timer.expires_after(std::chrono::milliseconds(10));
        co_await timer.async_wait(kAwait);
    }
    if (wanted == 2) co_await scope.close();
}

TEST_F(CertificatesTest, a_running_program_gets_the_new_leaf_in_time) {
    asio::io_context loop;
    Scope scope(loop.get_executor());
    Worker worker;
    host::TestClock clock;
    size_t seen = 0;
    KeeperOptions options{options_, std::chrono::milliseconds(5),
                          [&seen](const Result<Certificates>& made) {
                              EXPECT_TRUE(made.ok());
                              ++seen;
                          }};
    scope.spawn(keep_certificates(options, clock, worker));
    records::await_on(loop, wait_until_seen(scope, seen, 1));
    EXPECT_EQ(seen, 1U);
    clock.advance_ns(61 * kDayNs);
    records::await_on(loop, wait_until_seen(scope, seen, 2));
    EXPECT_EQ(seen, 2U);
}

TEST_F(CertificatesTest, a_name_cannot_say_anything_else) {
    options_.names = {"localhost,email:copy"};
    EXPECT_FALSE(ensure_certificates(options_).ok());
}

}  // namespace
}  // namespace stoa::access
