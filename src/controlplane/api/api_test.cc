#include "controlplane/api/api.h"

#include <cstdlib>
#include <fstream>
#include <set>

#include <gtest/gtest.h>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/field.hpp>
#include <boost/beast/websocket/stream.hpp>

#include "controlplane/api/test_api.h"
#include "controlplane/http/test_server.h"

namespace stoa::api {
namespace {

using http::body_of;
using http::RawClient;
using http::status_line;

class ApiTest : public ::testing::Test {
protected:
    // The answer to `METHOD TARGET`, with a body if there is one, and headers "Name: value\r\n".
    std::string ask(std::string_view line, std::string_view body = "",
                    std::string_view headers = "") {
        RawClient client(api_.socket_path());
        std::string text = fmt::format("{} HTTP/1.1\r\nHost: stoa\r\n{}", line, headers);
        if (!body.empty()) text += fmt::format("Content-Length: {}\r\n", body.size());
        return client.ask(text + "\r\n" + std::string(body));
    }
    Json json(std::string_view line, std::string_view body = "", std::string_view headers = "") {
        const std::string answer = ask(line, body, headers);
        Result<Json> parsed = parse_json(body_of(answer));
        if (!parsed.ok()) {
            ADD_FAILURE() << line << ": " << answer;
            return JsonObject{};
        }
        return *std::move(parsed);
    }
    static std::string text(const Json& value, std::string_view name) {
        const Json* found = value.as_object().if_contains(name);
        return found == nullptr     ? std::string()
               : found->is_string() ? std::string(found->get_string())
                                    : to_text(*found);
    }
    std::string create(const std::string& name, const std::string& more = "") {
        const Json made = json("POST /v1/vms", fmt::format(R"({{"name":"{}"{}}})", name, more));
        EXPECT_EQ(text(made, "name"), name);
        return text(made, "id");
    }

    records::TestDirectory directory_;
    TestApi api_{directory_.path()};
};

TEST_F(ApiTest, what_is_made_is_answered_and_found_by_id_and_name) {
    const std::string answer = ask("POST /v1/vms", R"({"name":"web1","cpus":2})");
    EXPECT_EQ(status_line(answer), "HTTP/1.1 201 Created") << answer;
    const Json made = *parse_json(body_of(answer));
    const std::string id = text(made, "id");
    EXPECT_NE(answer.find("Location: /v1/vms/" + id + "\r\n"), std::string::npos);
    EXPECT_EQ(made.at("spec").at("cpus"), 2);
    EXPECT_EQ(json("GET /v1/vms/web1"), made);
    EXPECT_EQ(json("GET /v1/vms/" + id), made);
}

TEST_F(ApiTest, live_values_are_shown_beside_the_record) {
    api_.context().live["vm"] = [](const Uuid&) { return Json(JsonObject{{"memory_bytes", 7}}); };
    create("web1");
    EXPECT_EQ(json("GET /v1/vms/web1").at("live").at("memory_bytes"), 7);
    EXPECT_EQ(json("GET /v1/vms").at("items").at(0).at("live").at("memory_bytes"), 7);
}

TEST_F(ApiTest, errors_name_the_field) {
    const Json unknown = json("POST /v1/vms", R"({"name":"web1","cpu":2})");
    EXPECT_EQ(text(unknown, "status"), "400");
    EXPECT_EQ(text(unknown, "code"), "invalid argument");
    EXPECT_EQ(text(unknown, "field"), "cpu");
    EXPECT_EQ(text(json("POST /v1/vms", R"({"name":"Web!"})"), "field"), "name");
    EXPECT_EQ(text(json("POST /v1/vms", R"({"name":"a","cpus":-1})"), "field"), "cpus");
    EXPECT_EQ(text(json("GET /v1/vms?limit=0"), "field"), "limit");
    EXPECT_EQ(text(json("DELETE /v1/vms/a?now=perhaps"), "field"), "now");
    const Json missing = json("GET /v1/vms/web1");
    EXPECT_EQ(text(missing, "detail"), "vm \"web1\" does not exist");
    EXPECT_EQ(text(missing, "status"), "404");
}

TEST_F(ApiTest, a_name_is_taken_once) {
    create("web1");
    EXPECT_EQ(text(json("POST /v1/vms", R"({"name":"web1"})"), "status"), "409");
}

TEST_F(ApiTest, lists_are_filtered_and_paged_stably) {
    for (int i = 0; i < 7; ++i) {
        create(fmt::format("web{}", i), i % 2 == 0 ? R"(,"labels":{"tier":"gold"})" : "");
    }
    create("db");
    const Json first = json("GET /v1/vms?limit=3");
    EXPECT_EQ(text(first, "total"), "8");
    EXPECT_EQ(first.at("items").as_array().size(), 3U);
    // What is removed and made between does not move the others.
    EXPECT_EQ(status_line(ask("DELETE /v1/vms/web0")), "HTTP/1.1 200 OK");
    const Json second = json("GET /v1/vms?limit=3&page=" + text(first, "next"));
    EXPECT_EQ(second.at("items").at(0).at("name"), "web3");
    const Json third = json("GET /v1/vms?limit=3&page=" + text(second, "next"));
    EXPECT_EQ(third.at("items").as_array().size(), 2U);
    EXPECT_FALSE(third.as_object().contains("next"));
    EXPECT_EQ(text(json("GET /v1/vms?label=tier%3Dgold"), "total"), "3");
    EXPECT_EQ(text(json("GET /v1/vms?label=tier"), "total"), "3");
    EXPECT_EQ(text(json("GET /v1/vms?label=tier%3Dsilver"), "total"), "0");
    EXPECT_EQ(text(json("GET /v1/vms?name=web&state=off"), "total"), "6");
    EXPECT_EQ(text(json("GET /v1/vms?state=running"), "total"), "0");
    const Json newest = json("GET /v1/vms?newest_first=true&limit=2");
    EXPECT_EQ(newest.at("items").at(0).at("name"), "db");
    const Json older = json("GET /v1/vms?newest_first=true&limit=2&page=" + text(newest, "next"));
    EXPECT_EQ(older.at("items").at(0).at("name"), "web5");
    EXPECT_EQ(text(json("GET /v1/vms?page=3"), "field"), "page");
}

TEST_F(ApiTest, a_change_of_another_revision_is_412) {
    create("web1");
    const std::string revision = text(json("GET /v1/vms/web1"), "revision");
    const std::string match = fmt::format("If-Match: \"{}\"\r\n", revision);
    EXPECT_EQ(status_line(ask("PATCH /v1/vms/web1", R"({"cpus":4})", match)), "HTTP/1.1 200 OK");
    const Json late = json("PATCH /v1/vms/web1", R"({"cpus":5})", match);
    EXPECT_EQ(text(late, "status"), "412");
    EXPECT_EQ(json("GET /v1/vms/web1").at("spec").at("cpus"), 4);
    EXPECT_NE(ask("GET /v1/vms/web1").find("ETag: \""), std::string::npos);
}

TEST_F(ApiTest, a_plan_is_shown_and_then_done_exactly) {
    create("web1");
    const Json plan = json("POST /v1/vms/web1/start?plan=true", R"({"timeout_seconds":1})");
    EXPECT_EQ(text(plan, "verb"), "vm.start");
    EXPECT_EQ(plan.at("steps").at(0).at("text"), "wait for web1 with 1 CPUs");
    EXPECT_EQ(text(json("GET /v1/tasks"), "total"), "0");
    const std::string target = "POST /v1/vms/web1/start?plan_token=" + text(plan, "token");
    EXPECT_EQ(status_line(ask(target, R"({"timeout_seconds":1})")), "HTTP/1.1 202 Accepted");
    EXPECT_EQ(text(json(target, R"({"timeout_seconds":1})"), "status"), "410");  // used
}

TEST_F(ApiTest, a_plan_whose_world_changed_is_409_with_the_difference) {
    create("web1");
    const Json plan = json("POST /v1/vms/web1/start?plan=true", R"({"timeout_seconds":1})");
    ask("PATCH /v1/vms/web1", R"({"cpus":4})");
    const Json late = json("POST /v1/vms/web1/start?plan_token=" + text(plan, "token"),
                           R"({"timeout_seconds":1})");
    EXPECT_EQ(text(late, "status"), "409");
    EXPECT_NE(text(late, "detail").find("4 CPUs"), std::string::npos) << text(late, "detail");
}

TEST_F(ApiTest, the_plan_of_a_creation_makes_what_it_named) {
    const Json plan = json("POST /v1/vms?plan=true", R"({"name":"web1"})");
    EXPECT_EQ(text(json("GET /v1/vms"), "total"), "0");
    const Json made = json("POST /v1/vms?plan_token=" + text(plan, "token"), R"({"name":"web1"})");
    EXPECT_EQ("vm/" + text(made, "id"), text(plan, "target"));
}

TEST_F(ApiTest, a_repeated_key_is_answered_again_and_not_done_again) {
    const std::string key = "Idempotency-Key: k1\r\n";
    const Json made = json("POST /v1/vms", R"({"name":"web1"})", key);
    EXPECT_EQ(json("POST /v1/vms", R"({"name":"web1"})", key), made);
    EXPECT_EQ(text(json("POST /v1/vms", R"({"name":"web2"})", key), "status"), "422");
    EXPECT_EQ(text(json("GET /v1/vms"), "total"), "1");
    const Json task = json("POST /v1/vms/web1/start", R"({"timeout_seconds":1})", key);
    EXPECT_EQ(json("POST /v1/vms/web1/start", R"({"timeout_seconds":1})", key), task);
    EXPECT_EQ(text(json("GET /v1/tasks"), "total"), "1");
}

TEST_F(ApiTest, a_task_is_waited_for_and_tells_its_result) {
    create("web1");
    const Json started = json("POST /v1/vms/web1/start", R"({"timeout_seconds":30})");
    const std::string id = text(started, "task");
    EXPECT_TRUE(text(started, "target").starts_with("vm/"));
    const Json done = json("GET /v1/tasks/" + id + "?wait=5");
    EXPECT_EQ(done.at("status").at("state"), "done");
    EXPECT_EQ(done.at("status").at("result").at("waited_ms"), 30);
    EXPECT_TRUE(done.as_object().contains("progress"));
    EXPECT_EQ(text(json("GET /v1/tasks/" + id + "?wait=61"), "field"), "wait");
    EXPECT_EQ(text(json("GET /v1/tasks?state=done"), "total"), "1");
}

TEST_F(ApiTest, a_failed_task_tells_why) {
    create("web1");
    const Json started = json("POST /v1/vms/web1/start", R"({"force":true})");
    const Json done = json("GET /v1/tasks/" + text(started, "task") + "?wait=5");
    EXPECT_EQ(done.at("status").at("state"), "failed");
    EXPECT_EQ(done.at("status").at("error_code"), "device error");
}

TEST_F(ApiTest, a_task_is_cancelled) {
    create("web1");
    const std::string id =
        text(json("POST /v1/vms/web1/start", R"({"timeout_seconds":5000})"), "task");
    EXPECT_EQ(status_line(ask("POST /v1/tasks/" + id + "/cancel")), "HTTP/1.1 202 Accepted");
    EXPECT_EQ(json("GET /v1/tasks/" + id + "?wait=5").at("status").at("state"), "cancelled");
    EXPECT_EQ(text(json("DELETE /v1/tasks/" + id), "status"), "409");
}

TEST_F(ApiTest, who_is_unknown_is_401_and_who_may_not_is_403) {
    const std::string id = create("web1");
    create("web2");
    const auto as = [](std::string_view who) {
        return fmt::format("Authorization: Bearer {}\r\n", who);
    };
    const std::string nobody = ask("GET /v1/vms", "", as("stranger"));
    EXPECT_EQ(status_line(nobody), "HTTP/1.1 401 Unauthorized");
    EXPECT_NE(nobody.find("WWW-Authenticate: Bearer"), std::string::npos);
    EXPECT_EQ(text(json("GET /v1/vms", "", as("viewer")), "total"), "2");
    EXPECT_EQ(text(json("DELETE /v1/vms/web1", "", as("viewer")), "status"), "403");
    const std::string one = as("one:" + id);
    EXPECT_EQ(text(json("GET /v1/vms", "", one), "total"), "1");
    EXPECT_EQ(text(json("GET /v1/vms/web1", "", one), "id"), id);
    EXPECT_EQ(text(json("GET /v1/vms/web2", "", one), "status"), "403");
    EXPECT_EQ(text(json("GET /v1/vms/web3", "", one), "status"), "403");  // tells no names
    EXPECT_EQ(text(json("GET /v1/vms/web3"), "status"), "404");
    EXPECT_EQ(status_line(ask("GET /v1/info", "", as("stranger"))), "HTTP/1.1 200 OK");
    EXPECT_EQ(status_line(ask("GET /metrics", "", as("stranger"))), "HTTP/1.1 401 Unauthorized");
}

TEST_F(ApiTest, every_change_leaves_an_audit_entry_without_secrets) {
    create("web1");
    ask("DELETE /v1/vms/web1", "", "Authorization: Bearer viewer\r\n");
    ask("POST /v1/login", R"({"user":"anna","password":"hunter2"})");
    ask("POST /v1/vms", R"({"name":"web2","pasword":"hunter2"})");
    ask("POST /v1/vms/web1/start?plan=true");
    const Json audit = json("GET /v1/audit");
    const auto& items = audit.at("items").as_array();
    ASSERT_EQ(items.size(), 4U) << to_text(audit);
    EXPECT_EQ(text(items[0], "principal"), "user/admin");
    EXPECT_TRUE(text(items[0], "subject").starts_with("vm/"));
    EXPECT_EQ(items[0].at("data").at("body").at("name"), "web1");
    EXPECT_EQ(items[1].at("data").at("code"), "denied");
    EXPECT_EQ(text(items[1], "principal"), "user/viewer");
    EXPECT_EQ(items[2].at("data").at("body").at("user"), "anna");
    EXPECT_EQ(items[2].at("data").at("body").at("password"), "***");
    EXPECT_EQ(items[3].at("data").at("status"), 400);
    EXPECT_EQ(to_text(audit).find("hunter2"), std::string::npos);
    const std::string viewer = "Authorization: Bearer viewer\r\n";
    EXPECT_EQ(text(json("GET /v1/audit", "", viewer), "status"), "403");
    EXPECT_EQ(to_text(json("GET /v1/events", "", viewer)).find("\"audit\""), std::string::npos);
}

TEST_F(ApiTest, why_shows_decisions_also_about_what_is_gone) {
    const std::string id = create("web1");
    api_.context().journal.decision("vm/" + id, "tcg: kvm runs no guest", JsonObject{{"kvm", 0}});
    EXPECT_EQ(json("GET /v1/vms/web1/why").at("items").at(0).at("text"), "tcg: kvm runs no guest");
    ask("DELETE /v1/vms/web1");
    EXPECT_EQ(json("GET /v1/vms/" + id + "/why").at("items").as_array().size(), 1U);
    EXPECT_EQ(text(json("GET /v1/vms/web1/why"), "status"), "404");
}

TEST_F(ApiTest, events_are_found_by_subject_kind_and_place) {
    const std::string id = create("web1");
    for (int i = 0; i < 5; ++i)
        api_.context().journal.event("vm/" + id, fmt::format("event {}", i));
    const Json first = json("GET /v1/events?subject=vm/web1&kind=event&limit=2");
    EXPECT_EQ(first.at("items").at(1).at("text"), "event 1");
    const Json rest =
        json("GET /v1/events?subject=vm/web1&kind=event&since=" + text(first, "next"));
    EXPECT_EQ(rest.at("items").as_array().size(), 3U);
    EXPECT_EQ(text(json("GET /v1/events?kind=gossip"), "field"), "kind");
}

// What the specification of OpenAPI 3.1 asks of a parameter, an answer and a reference.
void check_operation(const Json& document, const std::string& path, const Json& operation) {
    std::set<std::string> declared;
    if (const Json* parameters = operation.as_object().if_contains("parameters")) {
        for (const Json& one : parameters->as_array()) {
            const std::string place(one.at("in").as_string());
            EXPECT_TRUE(one.at("schema").is_object()) << path;
            EXPECT_TRUE(place == "path" || place == "query" || place == "header") << path;
            const std::string name(one.at("name").as_string());
            EXPECT_TRUE(declared.insert(place + " " + name).second) << path << " " << name;
            if (place == "path") {
                EXPECT_EQ(one.at("required"), true);
                EXPECT_NE(path.find("{" + name + "}"), std::string::npos) << path << " " << name;
            }
        }
    }
    for (size_t at = path.find('{'); at != std::string::npos; at = path.find('{', at + 1)) {
        const std::string name = path.substr(at + 1, path.find('}', at) - at - 1);
        EXPECT_TRUE(declared.contains("path " + name)) << path;
    }
    for (const auto& answer : operation.at("responses").as_object()) {
        EXPECT_TRUE(answer.value().at("description").is_string()) << path;
        if (answer.key() != "default") EXPECT_EQ(answer.key().size(), 3U) << path;
    }
    const Json& reference =
        operation.at("responses").at("default").at("content").at("application/problem+json");
    EXPECT_EQ(reference.at("schema").at("$ref"), "#/components/schemas/Problem");
    EXPECT_TRUE(document.at("components").at("schemas").at("Problem").is_object());
    if (const Json* body = operation.as_object().if_contains("requestBody")) {
        EXPECT_EQ(body->at("content").as_object().size(), 1U) << path;
    }
}

TEST_F(ApiTest, the_document_has_every_route) {
    const Json document = json("GET /v1/openapi.json");
    EXPECT_EQ(document.at("openapi"), "3.1.0");
    std::set<std::string> ids;
    for (const http::Route& route : api_.api().routes()) {
        std::string method(http::to_string(route.method));
        for (char& c : method) c = static_cast<char>(c + 32);
        const auto& paths = document.at("paths").as_object();
        ASSERT_TRUE(paths.contains(route.path)) << route.path;
        const Json& operation = paths.at(route.path).at(method);
        EXPECT_TRUE(ids.insert(text(operation, "operationId")).second) << route.path;
        EXPECT_FALSE(text(operation, "summary").empty()) << route.path;
        check_operation(document, route.path, operation);
    }
}

TEST_F(ApiTest, metrics_and_health_are_there) {
    create("web1");
    ask("GET /v1/vms/none");
    const std::string metrics = body_of(ask("GET /metrics"));
    for (const char* line :
         {"stoa_http_requests_total{route=\"POST /v1/vms\",status=\"201\"} 1\n",
          "stoa_http_requests_total{route=\"GET /v1/vms/{vm}\",status=\"404\"} 1\n",
          "stoa_records{kind=\"vm\",state=\"off\"} 1\n", "stoa_tasks_running 0\n",
          "stoa_read_only 0\n"}) {
        EXPECT_NE(metrics.find(line), std::string::npos) << line << metrics;
    }
    const std::string path = directory_.file("metrics");
    std::ofstream(path) << metrics;
    if (std::system("command -v promtool > /dev/null") == 0) {
        EXPECT_EQ(std::system(("promtool check metrics < " + path).c_str()), 0);
    }
    EXPECT_EQ(text(json("GET /healthz"), "status"), "ok");
    api_.context().health.push_back([] { return std::string("blockd does not answer"); });
    const std::string bad = ask("GET /healthz");
    EXPECT_EQ(status_line(bad), "HTTP/1.1 503 Service Unavailable");
    EXPECT_NE(bad.find("blockd does not answer"), std::string::npos);
}

class LiveTest : public ApiTest {
protected:
    using Stream = boost::beast::websocket::stream<asio::local::stream_protocol::socket>;

    // The stream, or what hindered it.
    boost::system::error_code open(const std::string& target, const std::string& origin = "") {
        stream_ = std::make_unique<Stream>(loop_);
        stream_->next_layer().connect(api_.socket_path());
        if (!origin.empty()) {
            stream_->set_option(boost::beast::websocket::stream_base::decorator(
                [origin](boost::beast::websocket::request_type& request) {
                    request.set(boost::beast::http::field::origin, origin);
                }));
        }
        boost::system::error_code error;
        stream_->handshake("stoa:8440", target, error);
        return error;
    }
    Json receive() {
        boost::beast::flat_buffer buffer;
        boost::system::error_code error;
        stream_->read(buffer, error);
        if (error) return JsonObject{{"error", error.message()}};
        Result<Json> parsed = parse_json(boost::beast::buffers_to_string(buffer.data()));
        return parsed.ok() ? *std::move(parsed) : Json(JsonObject{});
    }
    Json receive_type(std::string_view type) {
        for (;;) {
            Json message = receive();
            const Json* is = message.as_object().if_contains("type");
            if (is == nullptr || is->get_string() == type) return message;
        }
    }

    asio::io_context loop_;
    std::unique_ptr<Stream> stream_;
};

TEST_F(LiveTest, the_watch_shows_entries_records_and_progress) {
    ASSERT_FALSE(open("/v1/watch"));
    EXPECT_EQ(text(receive(), "type"), "ready");
    const std::string id = create("web1");
    const Json record = receive_type("record");
    EXPECT_EQ(text(record, "kind"), "vm");
    EXPECT_EQ(text(record, "id"), id);
    EXPECT_EQ(text(record, "change"), "spec");
    const Json entry = receive_type("entry");
    EXPECT_EQ(text(entry, "kind"), "audit");
    EXPECT_EQ(text(entry, "subject"), "vm/" + id);
    const Json started = json("POST /v1/vms/web1/start", R"({"timeout_seconds":400})");
    const Json progress = receive_type("progress");
    EXPECT_EQ(text(progress, "task"), text(started, "task"));
    EXPECT_EQ(text(progress, "total"), "400");
}

TEST_F(LiveTest, a_watch_goes_on_where_it_was) {
    ASSERT_FALSE(open("/v1/watch"));
    const Json ready = receive();
    stream_->close(boost::beast::websocket::close_code::normal);
    const std::string id = create("web1");
    ASSERT_FALSE(open(fmt::format("/v1/watch?since={}&revision={}", text(ready, "sequence"),
                                  http::percent_encode(text(ready, "revision")))));
    std::set<std::string> types;
    for (int i = 0; i < 3; ++i) types.insert(text(receive(), "type"));
    EXPECT_EQ(types, (std::set<std::string>{"ready", "record", "entry"}));
}

TEST_F(LiveTest, a_watch_from_another_store_is_closed_with_4410) {
    ASSERT_FALSE(open("/v1/watch?revision=00000000000000000000000000000000-7"));
    EXPECT_TRUE(receive().as_object().contains("error"));
    EXPECT_EQ(stream_->reason().code, 4410);
    ASSERT_FALSE(open("/v1/watch?since=1000000"));
    EXPECT_TRUE(receive().as_object().contains("error"));
    EXPECT_EQ(stream_->reason().code, 4410);
}

TEST_F(LiveTest, browsers_need_a_ticket_and_a_page_of_this_server) {
    const std::string id = create("web1");
    EXPECT_TRUE(open("/v1/vms/web1/console", "https://stoa:8440"));
    const std::string ticket = text(json("POST /v1/vms/web1/console"), "ticket");
    EXPECT_TRUE(open("/v1/vms/web1/console?ticket=" + ticket, "https://evil.example"));
    // By id as well as by name; once.
    const std::string target = "/v1/vms/" + id + "/console?ticket=" + ticket;
    EXPECT_FALSE(open(target, "https://stoa:8440"));
    EXPECT_TRUE(open(target, "https://stoa:8440"));
    const std::string other = text(json("POST /v1/watch"), "ticket");
    EXPECT_TRUE(open("/v1/vms/web1/console?ticket=" + other));
}

}  // namespace
}  // namespace stoa::api
