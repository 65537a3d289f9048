#include "apps/stoad/daemon.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "apps/stoad/blockd_keeper.h"
#include "apps/stoad/host_record.h"
#include "apps/stoad/log.h"
#include "apps/stoad/routes.h"
#include "base/check.h"
#include "controlplane/access/access.h"
#include "controlplane/access/certificate_keeper.h"
#include "controlplane/access/certificates.h"
#include "controlplane/api/api.h"
#include "controlplane/host/files.h"
#include "controlplane/host/instance.h"
#include "controlplane/host/peer.h"
#include "controlplane/http/server.h"
#include "controlplane/image/steps.h"
#include "controlplane/machine/guests.h"
#include "controlplane/machine/nbd_disks.h"
#include "controlplane/network/networks.h"
#include "controlplane/state/sqlite_store.h"
#include "controlplane/storage/reconcile.h"
#include "controlplane/storage/steps.h"

namespace stoa::apps::stoad {

namespace {

// Taps of the networks, for guests.
class NetworkTaps final : public machine::Taps {
public:
    explicit NetworkTaps(network::Networks& networks) : networks_(networks) {}
    Async<host::Descriptor> open(Uuid vm, model::VmNic nic) override {
        CO_TRY_ASSIGN(auto attachment, co_await networks_.attach(vm, nic.name));
        co_return std::move(attachment.tap);
    }

private:
    network::Networks& networks_;
};

struct Address {
    std::string host;
    uint16_t port = 0;
};

Result<Address> parse_listen(const std::string& text) {
    const size_t colon = text.rfind(':');
    uint32_t port = 0;
    bool good = colon != std::string::npos && colon + 1 < text.size();
    for (size_t i = colon + 1; good && i < text.size(); ++i) {
        good = text[i] >= '0' && text[i] <= '9' &&
               (port = port * 10 + uint32_t(text[i] - '0')) <= 65535;
    }
    if (!good) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("--listen {}: give ADDRESS:PORT, or none", text));
    }
    std::string host = text.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    return Address{std::move(host), static_cast<uint16_t>(port)};
}

}  // namespace

// In the order of their making; each lives as long as those after it.
struct Daemon::Parts {
    Parts(asio::io_context& its_loop, Options its_options, host::Clock& its_clock)
        : executor(its_loop.get_executor()), options(std::move(its_options)), clock(its_clock),
          background(executor) {}

    void tell(Level level, const std::string& text) const { log(clock, level, text); }
    [[nodiscard]] task::Ids fresh_ids() { return task::Ids({clock.wall_ns(), random.next()}); }
    [[nodiscard]] machine::PlanContext plan_context(task::Ids& ids) const;

    Async<> open_state();
    Async<> learn_host();
    Async<> open_planes();
    Async<> start_work();
    Async<> open_api();
    Async<> listen();
    AsyncVoid reconcile();
    void renewed(const Result<access::Certificates>& made);

    asio::any_io_executor executor;
    Options options;
    host::Clock& clock;
    host::SystemRandom random;
    std::unique_ptr<BlockdKeeper> keeper;
    std::optional<host::Instance> instance;
    std::unique_ptr<state::SqliteStore> store;
    std::unique_ptr<records::Records> records;
    std::unique_ptr<journal::Journal> journal;
    host::FactsOptions facts_options;
    host::HostFacts facts;
    std::string boot_before;
    machine::Settings settings;
    std::optional<host::CgroupTree> cgroups;
    Worker files;
    std::unique_ptr<storage::BlockdClient> client;
    std::unique_ptr<storage::Blockd> blockd;
    std::unique_ptr<network::Networks> networks;
    std::unique_ptr<machine::NbdDisks> disks;
    std::unique_ptr<NetworkTaps> taps;
    std::unique_ptr<machine::Services> services;
    std::unique_ptr<machine::Guests> guests;
    std::unique_ptr<task::Engine> engine;
    std::unique_ptr<access::Access> authorizer;
    std::unique_ptr<api::Context> context;
    std::unique_ptr<api::Api> api;
    std::unique_ptr<http::Server> server;
    Scope background;
    bool is_closed = false;
};

machine::PlanContext Daemon::Parts::plan_context(task::Ids& ids) const {
    return {.records = *records,
            .ids = ids,
            .now_ns = ids.now_ns(),
            .host = settings.host,
            .accelerator = settings.accelerator == qemu::Accelerator::kvm ? "kvm" : "tcg",
            .memory = memory_budget(*records, settings.host, facts.memory),
            .may_manage_networks = networks->may_manage()};
}

Async<> Daemon::Parts::open_state() {
    if (options.starts_blockd) {
        keeper = std::make_unique<BlockdKeeper>(
            executor, BlockdKeeperOptions{.root = options.root,
                                          .program = options.helpers + "/stoa-blockd",
                                          .launch_helper = options.helpers + "/stoa-launch",
                                          .tell = [this](const std::string& text) {
                                              tell(Level::warning, text);
                                              if (journal) journal->event({}, text);
                                          }});
        CO_TRY(co_await keeper->start());
    }
    auto opened = host::Instance::open(options.root);
    if (!opened.ok()) co_return opened.take_error();
    instance.emplace(*std::move(opened));
    auto made = co_await state::SqliteStore::open(
        executor, {.path = instance->state_path("state.db"),
                   .new_uuid = [this] { return Uuid::from_random(random.next(), random.next()); },
                   .tell = [this](const std::string& text) { tell(Level::info, text); }});
    if (!made.ok()) co_return made.take_error();
    store = *std::move(made);
    CO_TRY_ASSIGN(records, co_await records::Records::open(executor, *store));
    for (const records::Damaged& damaged : records->damaged()) {
        tell(Level::error, "damaged record: " + damaged.message);
    }
    CO_TRY_ASSIGN(
        journal,
        co_await journal::Journal::open(
            executor, {.directory = instance->state_path("journal"),
                       .now_ns = [this] { return clock.wall_ns(); },
                       .tell = [this](const std::string& text) { tell(Level::warning, text); }}));
    co_return Result<void>();
}

Async<> Daemon::Parts::learn_host() {
    facts_options = {.root = instance->root(),
                     .runtime = instance->runtime(),
                     .instance = instance->id(),
                     .ports_wanted = {}};
    CO_TRY_ASSIGN(facts, co_await host::gather_facts(facts_options));
    task::Ids ids = fresh_ids();
    CO_TRY_ASSIGN(settings.host, co_await ensure_host_record(*records, facts.host_name, ids));
    const auto* record = records->get<model::Host>(settings.host);
    if (record != nullptr) boot_before = record->status.boot_id;
    host::KvmProbe probe{.usable = false, .reason = "KVM is switched off (--no-kvm)"};
    if (options.allows_kvm) {
        CO_TRY_ASSIGN(probe, co_await host::probe_kvm({.helper = options.helpers + "/stoa-launch",
                                                       .cache = instance->state_path("kvm-probe"),
                                                       .boot_id = facts.boot_id,
                                                       .kernel = facts.kernel,
                                                       .qemu_version = facts.qemu_version}));
    }
    facts.kvm = probe;
    const bool is_new = record == nullptr || record->status.accelerator.reason != probe.reason;
    if (is_new) {
        journal->decision(
            "host/" + settings.host.to_string(),
            fmt::format("guests run under {}: {}", probe.usable ? "kvm" : "tcg", probe.reason),
            to_json(probe));
    }
    const auto findings = host::find_problems(facts, facts_options);
    settings.accelerator = probe.usable ? qemu::Accelerator::kvm : qemu::Accelerator::tcg;
    settings.boot_id = facts.boot_id;
    settings.root = instance->root();
    settings.runtime = instance->runtime();
    settings.launch_helper = options.helpers + "/stoa-launch";
    settings.qemu = options.qemu.empty() ? facts.qemu : options.qemu;
    settings.is_root = facts.is_root;
    settings.own_uid = host::own_uid();
    settings.own_gid = host::own_gid();
    settings.uid_first = options.uid_first;
    settings.uid_count = options.uid_count;
    settings.kvm_gid = host::find_group("kvm").value_or(0);
    settings.reconnect_seconds = options.reconnect_seconds;
    const auto written = co_await write_host_status(
        *records, settings.host, host_status(facts, probe, probe.usable, findings));
    if (!written.ok()) tell(Level::error, written.error().message());
    co_return Result<void>();
}

Async<> Daemon::Parts::open_planes() {
    client = storage::BlockdClient::create(
        executor, {.socket_path = instance->root() + "/blockd/control.socket"});
    blockd = std::make_unique<storage::Blockd>(*client);
    cgroups.emplace(host::CgroupTree::find(instance->id()));
    networks =
        network::Networks::create(executor, *records,
                                  {.instance = {instance->id()},
                                   .runtime_directory = instance->runtime(),
                                   .launch_helper = settings.launch_helper,
                                   .tell = [this](const Uuid& network, const std::string& text) {
                                       journal->event("network/" + network.to_string(), text);
                                   }});
    disks = std::make_unique<machine::NbdDisks>(*records, *blockd, instance->runtime());
    taps = std::make_unique<NetworkTaps>(*networks);
    services = std::make_unique<machine::Services>(
        machine::Services{.executor = executor,
                          .records = *records,
                          .journal = *journal,
                          .clock = clock,
                          .random = random,
                          .files = files,
                          .disks = *disks,
                          .taps = *taps,
                          .cgroups = *cgroups,
                          .settings = settings,
                          .context = [this](task::Ids& ids) { return plan_context(ids); }});
    guests = std::make_unique<machine::Guests>(*services);
    task::EngineOptions engine_options;
    engine_options.now_ns = [this] { return clock.wall_ns(); };
    engine_options.random = [this] { return random.next(); };
    engine_options.store = store.get();
    engine_options.journal = journal.get();
    engine = task::Engine::create(executor, *records, std::move(engine_options));
    const auto add = [this](std::vector<std::unique_ptr<task::StepType>> types) {
        for (auto& type : types) engine->add(std::move(type));
    };
    add(storage::make_steps(*records, *blockd));
    add(network::step_types(*networks, *records));
    add(image::make_steps(*records, {.images_directory = instance->state_path("images"),
                                     .package_directory = instance->state_path("packages")}));
    add(guests->step_types());
    co_return Result<void>();
}

Async<> Daemon::Parts::start_work() {
    co_await guests->adopt();
    CO_TRY(co_await networks->start());
    CO_TRY(co_await engine->start());
    const bool boot_is_new = boot_before != facts.boot_id;
    guests->start(*engine, boot_is_new);
    background.spawn(reconcile());
    if (keeper) keeper->keep();
    co_return Result<void>();
}

AsyncVoid Daemon::Parts::reconcile() {
    co_await storage::keep_reconciled(
        *records, *blockd,
        [this](const storage::ReconcileReport& report) {
            for (const std::string& change : report.changes) journal->event({}, change);
        },
        [this](const rpc::Event& event) { journal->event({}, event.text); });
}

Async<> Daemon::Parts::open_api() {
    CO_TRY_ASSIGN(authorizer, co_await access::Access::open(
                                  executor, *records, *store, clock, random,
                                  {.own_uid = host::own_uid(), .group = host::find_group("stoa")}));
    std::vector<std::string> features{facts.kvm && facts.kvm->usable ? "kvm" : "tcg"};
    if (networks->may_manage()) features.emplace_back("nat");
    context = std::make_unique<api::Context>(
        api::Parts{.store = *store,
                   .records = *records,
                   .engine = *engine,
                   .journal = *journal,
                   .authorizer = *authorizer,
                   .clock = clock,
                   .random = random,
                   .about = {STOA_VERSION, instance->id(), settings.host, std::move(features)}});
    auto made = api::Api::create(
        *context, all_routes({.context = *context,
                              .guests = *guests,
                              .networks = *networks,
                              .access = *authorizer,
                              .blockd = *blockd,
                              .cgroups = *cgroups,
                              .settings = settings,
                              .facts_options = facts_options,
                              .planning = [this](task::Ids& ids) { return plan_context(ids); }}));
    if (!made.ok()) co_return made.take_error();
    api = *std::move(made);
    server = http::Server::create(
        executor, *api, {.remote_allowed = [this] { return authorizer->has_administrator(); }});
    co_return co_await listen();
}

Async<> Daemon::Parts::listen() {
    CO_TRY_ASSIGN(const std::string path, instance->socket_path("stoad.sock"));
    CO_TRY(server->listen_unix(path));
    if (options.listen == "none") co_return Result<void>();
    CO_TRY_ASSIGN(const Address address, parse_listen(options.listen));
    access::CertificateOptions wanted;
    wanted.directory = instance->state_path("tls");
    wanted.instance = instance->id();
    wanted.now_ns = clock.wall_ns();
    if (!facts.host_name.empty()) wanted.names.push_back(facts.host_name);
    if (std::ranges::find(wanted.names, address.host) == wanted.names.end()) {
        wanted.names.push_back(address.host);
    }
    CO_TRY_ASSIGN(const access::Certificates now, access::ensure_certificates(wanted));
    CO_TRY_ASSIGN(auto tls, http::TlsContext::create(now.chain_pem, now.key_pem));
    const auto port = server->listen_tcp(address.host, address.port, std::move(tls));
    if (!port.ok()) {
        // The local socket is there: an administrator can look and mend.
        tell(Level::error, "not listening: " + port.error().message());
        co_return Result<void>();
    }
    const std::string where = fmt::format("{}:{}\n", address.host, *port);
    static_cast<void>(host::replace_file(instance->runtime() + "/stoad.address", where,
                                         {.mode = 0644, .durable = false}));
    background.spawn(access::keep_certificates(
        {.certificates = std::move(wanted),
         .changed = [this](const Result<access::Certificates>& made) { renewed(made); }},
        clock, files));
    tell(Level::info, fmt::format("listening on https://{}:{}, fingerprint {}", address.host, *port,
                                  now.fingerprint));
    co_return Result<void>();
}

void Daemon::Parts::renewed(const Result<access::Certificates>& made) {
    if (!made.ok()) {
        tell(Level::error, "the certificate could not be renewed: " + made.error().message());
        return;
    }
    auto tls = http::TlsContext::create(made->chain_pem, made->key_pem);
    if (tls.ok()) server->set_tls(*std::move(tls));
    journal->event({}, "the API's certificate was renewed");
}

Daemon::Daemon(asio::io_context& loop, Options options, host::Clock& clock)
    : parts_(std::make_unique<Parts>(loop, std::move(options), clock)) {}

Daemon::~Daemon() { CHECK(parts_->is_closed); }

Async<> Daemon::start() {
    CO_TRY(co_await parts_->open_state());
    CO_TRY(co_await parts_->learn_host());
    CO_TRY(co_await parts_->open_planes());
    CO_TRY(co_await parts_->start_work());
    CO_TRY(co_await parts_->open_api());
    parts_->tell(Level::info, fmt::format("stoad {} serves {} (instance {})", STOA_VERSION,
                                          parts_->instance->root(), parts_->instance->id()));
    parts_->journal->event({}, fmt::format("stoad {} started", STOA_VERSION));
    co_return Result<void>();
}

AsyncVoid Daemon::close() {
    Parts& parts = *parts_;
    if (parts.server) co_await parts.server->close();
    co_await parts.background.close();
    if (parts.authorizer) co_await parts.authorizer->close();
    if (parts.engine) co_await parts.engine->close();
    if (parts.guests) co_await parts.guests->close();
    if (parts.networks) co_await parts.networks->close();
    if (parts.client) co_await parts.client->close();
    if (parts.keeper) co_await parts.keeper->close();
    if (parts.journal) co_await parts.journal->close();
    if (parts.records) co_await parts.records->close();
    if (parts.store) co_await parts.store->close();
    parts.is_closed = true;
}

}  // namespace stoa::apps::stoad
