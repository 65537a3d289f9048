// For tests and benchmarks: the API over a real server, store, journal and engine, on a thread of
// its own, with VMs that exist as records alone.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

#include "base/check.h"
#include "controlplane/api/api.h"
#include "controlplane/api/event_routes.h"
#include "controlplane/api/host_routes.h"
#include "controlplane/api/route_parts.h"
#include "controlplane/api/task_routes.h"
#include "controlplane/http/query.h"
#include "controlplane/http/server.h"
#include "controlplane/journal/journal.h"
#include "controlplane/model/access_requests.h"
#include "controlplane/model/vm_requests.h"
#include "controlplane/records/records.h"
#include "controlplane/records/test_store.h"
#include "controlplane/state/sqlite_store.h"
#include "controlplane/task/engine.h"

namespace stoa::api {

// Tokens: "admin" may all, "viewer" reads all, "one:ID" may all with the VM of this id. The local
// socket without a token: admin.
class TestAuthorizer final : public http::Authorizer {
public:
    Async<http::Principal> authenticate(const http::Credentials& credentials) override {
        if (credentials.bearer.empty() && credentials.peer.is_local) {
            co_return http::Principal{.name = "user/admin", .login = "admin"};
        }
        co_return find("user/" + credentials.bearer);
    }
    Result<http::Principal> find(const std::string& name) override {
        const std::string login = name.substr(name.find('/') + 1);
        if (login == "admin" || login == "viewer" || login.starts_with("one:")) {
            return http::Principal{.name = name, .login = login};
        }
        return Error(ErrorCode::denied, "the token is unknown or has expired");
    }
    Result<void> authorize(const http::Principal& principal, std::string_view permission,
                           std::string_view resource) override {
        const bool may =
            principal.login == "admin" ||
            (principal.login == "viewer" && permission.ends_with(".read") &&
             permission != "audit.read") ||
            (principal.login.starts_with("one:") && resource == "/vm/" + principal.login.substr(4));
        if (may) return {};
        return Error(ErrorCode::denied,
                     fmt::format("{} lacks {} on {}", principal.login, permission, resource));
    }
};

// Takes {"ms"}; {"fail"} instead fails.
class TestStep final : public task::StepType {
public:
    [[nodiscard]] std::string_view name() const override { return "test.wait"; }
    Async<bool> is_done(task::StepContext& /*context*/) override { co_return false; }
    Async<> run(task::StepContext& context) override {
        const Json arguments = context.step().arguments;
        if (arguments.as_object().contains("fail")) co_return Error(ErrorCode::io, "it broke");
        const auto ms = arguments.at("ms").to_number<int>();
        asio::steady_timer timer(co_await asio::this_coro::executor);
        for (int i = 0; i < ms && !context.cancel_wanted(); ++i) {
            context.progress(static_cast<uint64_t>(i), static_cast<uint64_t>(ms), "waiting");
            timer.expires_after(std::chrono::milliseconds(1));
            co_await timer.async_wait(kAwait);
        }
        if (context.cancel_wanted()) co_return Error(ErrorCode::cancelled, "as was wanted");
        context.result().as_object()["waited_ms"] = ms;
        co_return Result<void>();
    }
    Async<> undo(task::StepContext& /*context*/) override { co_return Result<void>(); }
};

// POST /v1/vms, PATCH and DELETE /v1/vms/{vm}: records alone. POST /v1/vms/{vm}/start: a task of
// `timeout_seconds` ms. POST /v1/login says yes. Console: says again what it hears.
class TestRoutes {
public:
    explicit TestRoutes(Context& context) : context_(context) {}

    std::vector<http::Route> routes() {
        using http::Request;
        using model::Vm;
        using task::Ids;
        std::vector<http::Route> all;
        all.push_back(create_route<Vm, model::VmCreate>(
            with_body<model::VmCreate>([this](const model::VmCreate& body, const Request&,
                                              Ids& ids) { return create(body, ids); })));
        all.push_back(set_route<Vm, model::VmSet>(
            with_body<model::VmSet>([this](const model::VmSet& body, const Request& request, Ids&) {
                return set(body, request);
            })));
        http::Route erase =
            delete_route<Vm>({[this](const Request& request, Ids&) { return remove(request); }});
        erase.query = http::parameters_of<model::VmDelete>();
        all.push_back(std::move(erase));
        all.push_back(verb_route<Vm, model::VmStop>(
            "start", "Starts a VM",
            with_body<model::VmStop>([this](const model::VmStop& body, const Request& request,
                                            Ids&) { return start(body, request); })));
        all.push_back({.method = http::Method::post,
                       .path = "/v1/login",
                       .summary = "Gives a token",
                       .handler = http::Direct{login},
                       .body_schema = json_schema<model::Login>()});
        all.push_back(
            {.method = http::Method::post,
             .path = "/v1/vms/{vm}/console",
             .permission = "vm.console",
             .resource = "/vm/{vm}",
             .summary = "A ticket for the console",
             .handler = http::Direct{[this](const Request& request) { return ticket(request); }}});
        all.push_back({.path = "/v1/vms/{vm}/console",
                       .permission = "vm.console",
                       .resource = "/vm/{vm}",
                       .summary = "The console (WebSocket)",
                       .handler = http::Live{console}});
        return all;
    }

private:
    Result<task::Plan> create(const model::VmCreate& body, task::Ids& ids) {
        TRY(model::check_name(body.name));
        model::Record<model::Vm> record;
        record.id = ids.next();
        record.name = body.name;
        record.labels = body.labels;
        record.created_ns = ids.now_ns();
        record.spec.cpus = body.cpus;
        task::Plan plan;
        plan.verb = "vm.create";
        plan.target = "vm/" + record.id.to_string();
        records::create(plan.intent, record);
        return plan;
    }
    Result<task::Plan> set(const model::VmSet& body, const http::Request& request) {
        TRY_ASSIGN(const auto* before, context_.records.find<model::Vm>(request.parameter("vm")));
        model::Record<model::Vm> after = *before;
        if (body.labels) after.labels = *body.labels;
        if (body.cpus) after.spec.cpus = *body.cpus;
        task::Plan plan;
        plan.verb = "vm.set";
        plan.target = "vm/" + before->id.to_string();
        records::replace(plan.intent, *before, after);
        return plan;
    }
    Result<task::Plan> remove(const http::Request& request) {
        TRY(http::options_of<model::VmDelete>(request));
        TRY_ASSIGN(const auto* record, context_.records.find<model::Vm>(request.parameter("vm")));
        task::Plan plan;
        plan.verb = "vm.delete";
        plan.target = "vm/" + record->id.to_string();
        records::erase(plan.intent, *record);
        return plan;
    }
    Result<task::Plan> start(const model::VmStop& body, const http::Request& request) {
        TRY_ASSIGN(const auto* record, context_.records.find<model::Vm>(request.parameter("vm")));
        JsonObject arguments{{"ms", body.timeout_seconds}};
        if (body.force) arguments["fail"] = true;
        task::Plan plan;
        plan.verb = "vm.start";
        plan.target = "vm/" + record->id.to_string();
        plan.steps.push_back(
            {"test.wait", std::move(arguments),
             fmt::format("wait for {} with {} CPUs", record->name, record->spec.cpus)});
        return plan;
    }
    static Async<http::Response> login(const http::Request& request) {
        model::Login body;
        CO_TRY(from_json(request.body, body));
        co_return http::Response{.body = JsonObject{{"token", "viewer"}}};
    }
    Async<http::Response> ticket(const http::Request& request) {
        co_return http::Response{
            .body =
                JsonObject{{"ticket", context_.tickets.issue(request.principal, request.path)}}};
    }
    static Async<> console(const http::Request& request, http::Socket& socket) {
        (void)co_await socket.send({.is_text = true, .data = request.principal});
        for (;;) {
            Result<http::Message> message = co_await socket.receive();
            if (!message.ok()) co_return Result<void>();
            (void)co_await socket.send(*std::move(message));
        }
    }

    Context& context_;
};

class TestApi {
public:
    explicit TestApi(std::string directory) : directory_(std::move(directory)) {
        thread_ = std::thread([this] { loop_.run(); });
        asio::co_spawn(loop_, open(), asio::use_future).get();
    }
    TestApi(const TestApi&) = delete;
    TestApi& operator=(const TestApi&) = delete;
    ~TestApi() {
        asio::co_spawn(loop_, close(), asio::use_future).get();
        work_.reset();
        thread_.join();
    }
    [[nodiscard]] std::string socket_path() const { return directory_ + "/api.sock"; }
    // Before and after the API's own use of them: on its thread.
    template <class T>
    T run(asio::awaitable<T> task) {
        return asio::co_spawn(loop_, std::move(task), asio::use_future).get();
    }
    [[nodiscard]] records::Records& records() { return *records_; }
    [[nodiscard]] Context& context() { return *context_; }
    [[nodiscard]] Api& api() { return *api_; }

private:
    AsyncVoid open() {
        const auto executor = loop_.get_executor();
        auto store = co_await state::SqliteStore::open(
            executor, {.path = directory_ + "/state.db", .new_uuid = [this] {
                           return Uuid::from_random(random_.next(), random_.next());
                       }});
        CHECK(store.ok());
        store_ = *std::move(store);
        auto records = co_await records::Records::open(executor, *store_);
        CHECK(records.ok());
        records_ = *std::move(records);
        auto journal = co_await journal::Journal::open(
            executor,
            {.directory = directory_ + "/journal", .now_ns = [this] { return clock_.wall_ns(); }});
        CHECK(journal.ok());
        journal_ = *std::move(journal);
        task::EngineOptions options;
        options.now_ns = [this] { return clock_.wall_ns(); };
        options.random = [this] { return random_.next(); };
        options.store = store_.get();
        options.journal = journal_.get();
        engine_ = task::Engine::create(executor, *records_, std::move(options));
        engine_->add(std::make_unique<TestStep>());
        CHECK((co_await engine_->start()).ok());
        context_ = std::make_unique<Context>(Parts{
            .store = *store_,
            .records = *records_,
            .engine = *engine_,
            .journal = *journal_,
            .authorizer = authorizer_,
            .clock = clock_,
            .random = random_,
            .about = {.version = "0.1.0", .instance = "0123abcd", .host = {}, .features = {}}});
        routes_ = std::make_unique<TestRoutes>(*context_);
        std::vector<http::Route> all = routes_->routes();
        for (const auto& more :
             {task_routes(*context_), event_routes(*context_), host_routes(*context_)}) {
            all.insert(all.end(), more.begin(), more.end());
        }
        auto api = Api::create(*context_, std::move(all));
        CHECK(api.ok());
        api_ = *std::move(api);
        server_ = http::Server::create(executor, *api_, {});
        CHECK(server_->listen_unix(socket_path()).ok());
    }
    AsyncVoid close() {
        co_await server_->close();
        server_.reset();
        api_.reset();
        co_await engine_->close();
        engine_.reset();
        co_await journal_->close();
        co_await records_->close();
        co_await store_->close();
        journal_.reset();
        records_.reset();
        store_.reset();
    }

    std::string directory_;
    asio::io_context loop_{1};
    asio::executor_work_guard<asio::io_context::executor_type> work_{loop_.get_executor()};
    host::SystemClock clock_;
    host::SystemRandom random_;
    TestAuthorizer authorizer_;
    std::unique_ptr<state::SqliteStore> store_;
    std::unique_ptr<records::Records> records_;
    std::unique_ptr<journal::Journal> journal_;
    std::unique_ptr<task::Engine> engine_;
    std::unique_ptr<Context> context_;
    std::unique_ptr<TestRoutes> routes_;
    std::unique_ptr<Api> api_;
    std::unique_ptr<http::Server> server_;
    std::thread thread_;
};

}  // namespace stoa::api
