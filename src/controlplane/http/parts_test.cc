// Metrics, tickets, and the OpenAPI document.
#include <filesystem>
#include <fstream>
#include <set>

#include <gtest/gtest.h>

#include "controlplane/http/metrics.h"
#include "controlplane/http/openapi.h"
#include "controlplane/http/router.h"
#include "controlplane/http/tickets.h"

namespace stoa::http {
namespace {

TEST(Metrics, requests_are_counted_by_route_and_status_and_timed) {
    RequestMetrics metrics;
    metrics.observe("GET /a", 200, 0.0001);
    metrics.observe("GET /a", 200, 0.02);
    metrics.observe("GET /a", 404, 100);
    MetricsText text;
    metrics.write(text);
    const std::string& all = text.text();
    for (const char* line : {"stoa_http_requests_total{route=\"GET /a\",status=\"200\"} 2\n",
                             "stoa_http_requests_total{route=\"GET /a\",status=\"404\"} 1\n",
                             "stoa_http_request_seconds_bucket{route=\"GET /a\",le=\"0.0005\"} 1\n",
                             "stoa_http_request_seconds_bucket{route=\"GET /a\",le=\"0.025\"} 2\n",
                             "stoa_http_request_seconds_bucket{route=\"GET /a\",le=\"10\"} 2\n",
                             "stoa_http_request_seconds_bucket{route=\"GET /a\",le=\"+Inf\"} 3\n",
                             "stoa_http_request_seconds_count{route=\"GET /a\"} 3\n"}) {
        EXPECT_NE(all.find(line), std::string::npos) << line << all;
    }
}

TEST(Metrics, values_of_labels_are_escaped) {
    MetricsText text;
    const std::array<std::pair<std::string_view, std::string_view>, 1> labels{
        std::pair{"name", "a\"b\\c\nd"}};
    text.family("x", "gauge", "What.");
    text.sample("x", labels, 1.5);
    EXPECT_EQ(text.text(), "# HELP x What.\n# TYPE x gauge\nx{name=\"a\\\"b\\\\c\\nd\"} 1.5\n");
}

class TicketsTest : public ::testing::Test {
protected:
    int64_t now_ns_ = 0;
    uint64_t random_ = 0;
    Tickets tickets_{[this] { return now_ns_; }, [this] { return ++random_; }};
};

TEST_F(TicketsTest, a_ticket_is_good_once) {
    const std::string ticket = tickets_.issue("user/1", "/v1/watch");
    EXPECT_EQ(ticket.size(), 32U);
    EXPECT_EQ(*tickets_.redeem(ticket, "/v1/watch"), "user/1");
    EXPECT_EQ(tickets_.redeem(ticket, "/v1/watch").error().code(), ErrorCode::denied);
}

TEST_F(TicketsTest, a_ticket_is_for_one_path_and_30_seconds) {
    const std::string other = tickets_.issue("user/1", "/v1/watch");
    EXPECT_FALSE(tickets_.redeem(other, "/v1/vms/a/console").ok());
    EXPECT_FALSE(tickets_.redeem(other, "/v1/watch").ok());
    const std::string old = tickets_.issue("user/1", "/v1/watch");
    now_ns_ += Tickets::kLifeNs + 1;
    EXPECT_FALSE(tickets_.redeem(old, "/v1/watch").ok());
}

TEST_F(TicketsTest, their_number_is_bounded) {
    const std::string first = tickets_.issue("user/1", "/");
    for (size_t i = 0; i < Tickets::kTicketsMax; ++i) {
        ++now_ns_;
        tickets_.issue("user/1", "/");
    }
    EXPECT_FALSE(tickets_.redeem(first, "/").ok());
}

TEST(OpenApi, every_route_is_in_the_document) {
    std::vector<Route> routes;
    routes.push_back({.method = Method::patch,
                      .path = "/v1/vms/{vm}",
                      .permission = "vm.set",
                      .summary = "Changes it",
                      .handler = Change{},
                      .body_schema = JsonObject{{"type", "object"}},
                      .query = {{.name = "force"}}});
    routes.push_back({.path = "/v1/vms/{vm}", .permission = "vm.read", .handler = Read{}});
    routes.push_back({.path = "/v1/watch", .permission = "event.read", .handler = Live{}});
    routes.push_back({.method = Method::put, .path = "/v1/vms/{vm}/files", .handler = Upload{}});
    const Json document = openapi_document(routes, "1.2.3");
    EXPECT_EQ(document.at("openapi"), "3.1.0");
    EXPECT_EQ(document.at("info").at("version"), "1.2.3");
    const Json& patch = document.at("paths").at("/v1/vms/{vm}").at("patch");
    EXPECT_EQ(patch.at("operationId"), "patch_v1_vms_vm");
    EXPECT_EQ(patch.at("x-stoa-permission"), "vm.set");
    std::set<std::string_view> names;
    for (const Json& one : patch.at("parameters").as_array())
        names.insert(one.at("name").as_string());
    EXPECT_EQ(names, (std::set<std::string_view>{"vm", "force", "plan", "plan_token", "If-Match",
                                                 "Idempotency-Key"}));
    EXPECT_TRUE(
        document.at("paths").at("/v1/watch").at("get").at("responses").as_object().contains("101"));
    EXPECT_TRUE(
        document.at("paths").at("/v1/vms/{vm}/files").at("put").at("security").as_array().empty());
}

}  // namespace
}  // namespace stoa::http
