#include "controlplane/http/router.h"

#include <gtest/gtest.h>

#include "controlplane/http/problem.h"
#include "controlplane/http/query.h"

namespace stoa::http {
namespace {

struct Options {
    bool now = false;
    std::optional<uint32_t> limit;
    static constexpr auto fields() {
        return std::tuple(optional("now", &Options::now, ""),
                          optional("limit", &Options::limit, ""));
    }
};

Json schema_with(std::string_view field) {
    return JsonObject{{"type", "object"},
                      {"properties", JsonObject{{field, JsonObject{{"type", "string"}}}}}};
}

std::vector<Route> table() {
    std::vector<Route> routes;
    routes.push_back({.method = Method::get, .path = "/v1/vms/{vm}", .handler = Read{}});
    routes.push_back({.method = Method::get, .path = "/v1/vms/special", .handler = Read{}});
    routes.push_back({.method = Method::erase,
                      .path = "/v1/vms/{vm}",
                      .handler = Change{},
                      .query = parameters_of<Options>()});
    routes.push_back({.method = Method::post,
                      .path = "/v1/vms/{vm}/start",
                      .handler = Change{},
                      .body_schema = schema_with("timeout"),
                      .body_optional = true});
    routes.push_back({.method = Method::get,
                      .path = "/v1/vms",
                      .handler = Read{},
                      .query = {{.name = "label", .repeated = true}, {.name = "page"}}});
    return routes;
}

class RouterTest : public ::testing::Test {
protected:
    RouterTest() : router_(*Router::create(table())) {}

    std::variant<Match, Response> match(std::string method, std::string target) {
        return router_->match({.method = std::move(method), .target = std::move(target)});
    }
    Match matched(const std::string& method, const std::string& target) {
        auto result = match(method, target);
        if (!std::holds_alternative<Match>(result)) {
            ADD_FAILURE() << method << " " << target << ": "
                          << to_text(std::get<Response>(result).body);
            return {};
        }
        return std::get<Match>(std::move(result));
    }
    Response refused(const std::string& method, const std::string& target) {
        auto result = match(method, target);
        if (std::holds_alternative<Match>(result)) {
            ADD_FAILURE() << method << " " << target << " is a route";
            return {};
        }
        return std::get<Response>(std::move(result));
    }
    static std::string detail(const Response& response) {
        return std::string(response.body.at("detail").as_string());
    }

    std::unique_ptr<Router> router_;
};

TEST_F(RouterTest, a_parameter_is_one_decoded_segment) {
    const Match match = matched("GET", "/v1/vms/web%2D1%C3%A9");
    EXPECT_EQ(match.route->path, "/v1/vms/{vm}");
    EXPECT_EQ(match.request.parameter("vm"), "web-1é");
    EXPECT_EQ(matched("GET", "/v1/vms/fast%2Fdb").request.parameter("vm"), "fast/db");
}

TEST_F(RouterTest, a_word_is_preferred_to_a_parameter) {
    EXPECT_EQ(matched("GET", "/v1/vms/special").route->path, "/v1/vms/special");
}

TEST_F(RouterTest, the_absolute_form_of_a_target_is_the_same_path) {
    EXPECT_EQ(matched("GET", "http://host:8080/v1/vms").route->path, "/v1/vms");
    EXPECT_EQ(matched("HEAD", "/v1/vms").route->method, Method::get);
}

TEST_F(RouterTest, what_is_no_path_is_404) {
    for (const char* target :
         {"/", "/v1", "/v1/vms/", "/v1/vms/a/b/c", "*", "/v2/vms", "//v1/vms", "/v1/vms/../vms",
          "/V1/vms", "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t"}) {
        EXPECT_EQ(refused("GET", target).status, 404U) << target;
    }
}

TEST_F(RouterTest, another_method_is_405_and_told_which_there_are) {
    const Response response = refused("PUT", "/v1/vms/web");
    EXPECT_EQ(response.status, 405U);
    EXPECT_EQ(response.headers.at("Allow"), "DELETE, GET");
    EXPECT_EQ(refused("BREW", "/v1/vms").status, 501U);
}

TEST_F(RouterTest, wrong_encodings_are_400) {
    for (const char* target : {"/v1/vms/%", "/v1/vms/%4", "/v1/vms/%zz", "/v1/vms/%ff",
                               "/v1/vms/a%00b", "/v1/vms/a%0Ab", "/v1/vms?page=%0d%0a"}) {
        EXPECT_EQ(refused("GET", target).status, 400U) << target;
    }
    EXPECT_EQ(refused("GET", "/v1/vms/" + std::string(kTargetBytesMax, 'a')).status, 400U);
}

TEST_F(RouterTest, the_last_two_digits_of_an_encoding_may_end_the_text) {
    EXPECT_EQ(*percent_decode("a%41", false), "aA");
    EXPECT_EQ(*percent_decode("%41", false), "A");
}

TEST_F(RouterTest, unknown_parameters_are_refused_by_name) {
    const Response response = refused("GET", "/v1/vms?labl=a");
    EXPECT_EQ(response.status, 400U);
    EXPECT_EQ(response.body.at("field"), "labl");
    EXPECT_EQ(detail(response), "unknown field \"labl\"; possible here: label, page");
    EXPECT_EQ(refused("GET", "/v1/vms?plan=true").status, 400U);
    EXPECT_EQ(matched("DELETE", "/v1/vms/a?plan=true").request.option("plan"), "true");
}

TEST_F(RouterTest, only_parameters_that_repeat_may_be_repeated) {
    const Match match = matched("GET", "/v1/vms?label=a%3Db&label=c+d&page=");
    EXPECT_EQ(match.request.query.count("label"), 2U);
    EXPECT_EQ(match.request.option("label"), "a=b");
    EXPECT_EQ(match.request.query.find("label")->second, "a=b");
    EXPECT_TRUE(match.request.has("page"));
    EXPECT_EQ(refused("GET", "/v1/vms?page=a&page=b").status, 400U);
}

TEST_F(RouterTest, options_are_read_by_the_types_of_their_fields) {
    const auto options =
        options_of<Options>(matched("DELETE", "/v1/vms/a?now=true&limit=7").request);
    ASSERT_TRUE(options.ok()) << options.error().message();
    EXPECT_TRUE(options->now);
    EXPECT_EQ(options->limit, 7U);
    const auto wrong = options_of<Options>(matched("DELETE", "/v1/vms/a?limit=many").request);
    ASSERT_FALSE(wrong.ok());
    EXPECT_NE(wrong.error().message().find("\"limit\" must be"), std::string::npos);
}

TEST_F(RouterTest, headers_become_parts_of_the_request) {
    const auto result = router_->match(
        {.method = "POST",
         .target = "/v1/vms/a/start",
         .headers = {
             {"if-match", "\"17\""}, {"authorization", "bEARER abc"}, {"idempotency-key", "k1"}}});
    ASSERT_TRUE(std::holds_alternative<Match>(result));
    const Request& request = std::get<Match>(result).request;
    EXPECT_EQ(request.if_match, "17");
    EXPECT_EQ(request.bearer, "abc");
    EXPECT_EQ(request.idempotency_key, "k1");
}

TEST_F(RouterTest, a_table_with_a_route_twice_is_refused) {
    auto routes = table();
    routes.push_back({.method = Method::get, .path = "/v1/vms/{other}", .handler = Read{}});
    EXPECT_FALSE(Router::create(std::move(routes)).ok());
    std::vector<Route> bad;
    bad.push_back({.path = "/v1/a{b}", .handler = Read{}});
    EXPECT_FALSE(Router::create(std::move(bad)).ok());
}

TEST_F(RouterTest, bodies_are_objects_where_the_route_wants_one) {
    const Route& start = *matched("POST", "/v1/vms/a/start").route;
    const Route& show = *matched("GET", "/v1/vms/a").route;
    const Head json{.headers = {{"content-type", "application/json; charset=utf-8"}}};
    EXPECT_TRUE(parse_body(start, json, "{\"timeout\": 1}").ok());
    EXPECT_TRUE(parse_body(start, json, "")->is_object());
    EXPECT_FALSE(parse_body(start, json, "[]").ok());
    EXPECT_FALSE(parse_body(start, json, "{\"timeout\": 1").ok());
    EXPECT_FALSE(parse_body(start, {.headers = {{"content-type", "text/plain"}}}, "{}").ok());
    EXPECT_TRUE(parse_body(show, json, "")->is_null());
    EXPECT_FALSE(parse_body(show, json, "{}").ok());
}

TEST(Problem, a_message_about_a_field_names_it) {
    const Route route{.path = "/",
                      .handler = Read{},
                      .body_schema = schema_with("disks"),
                      .query = {{.name = "limit"}}};
    EXPECT_EQ(field_of("\"disks[1].size_bytes\" must be a whole number, not 7", route),
              "disks[1].size_bytes");
    EXPECT_EQ(field_of("spec.disks[0].name: is there twice", route), "disks[0].name");
    EXPECT_EQ(field_of("\"disks\" is missing", route), "disks");
    EXPECT_EQ(field_of("limit \"x\": must be a number", route), "limit");
    EXPECT_EQ(field_of("unknown field \"Möp\"; possible here: disks", route), "Möp");
    EXPECT_EQ(field_of("vm \"web1\" does not exist", route), "");
    EXPECT_EQ(field_of("pool fast: is full", route), "");
    EXPECT_EQ(field_of("\"disks", route), "");
    EXPECT_EQ(field_of("", route), "");
}

TEST(Problem, every_code_has_a_status_and_a_title) {
    for (int i = 0; i <= static_cast<int>(ErrorCode::denied); ++i) {
        const Response response = problem(Error(static_cast<ErrorCode>(i), "it is so"));
        EXPECT_GE(response.status, 400U);
        EXPECT_EQ(response.body.at("status").to_number<uint32_t>(), response.status);
        EXPECT_EQ(response.headers.at("Content-Type"), "application/problem+json");
        if (response.status != 500) {
            EXPECT_NE(response.body.at("title"), "Internal Server Error");
        }
    }
    EXPECT_EQ(problem(Error(ErrorCode::no_space, "")).status, 507U);
    EXPECT_EQ(problem(Error(ErrorCode::read_only, "")).status, 503U);
    EXPECT_EQ(problem(401, Error(ErrorCode::denied, "")).headers.count("WWW-Authenticate"), 1U);
}

}  // namespace
}  // namespace stoa::http
