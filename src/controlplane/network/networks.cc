#include "controlplane/network/networks.h"

#include <charconv>

#include <fmt/format.h>
#include <boost/asio/steady_timer.hpp>

#include "base/check.h"
#include "controlplane/host/files.h"
#include "controlplane/host/links.h"
#include "controlplane/network/state.h"

namespace stoa::network {

namespace {

constexpr int kCapNetAdmin = 12;  // capabilities(7)
constexpr size_t kStatusBytesMax = 65'536;

// CapEff of proc(5) status: 16 hex digits.
bool has_net_admin() {
    const auto status = host::read_file("/proc/self/status", kStatusBytesMax);
    if (!status.ok()) return false;
    constexpr std::string_view kKey = "CapEff:\t";
    const size_t at = status->find(kKey);
    if (at == std::string::npos) return false;
    uint64_t effective = 0;
    const char* const start = status->data() + at + kKey.size();
    const auto [stop, error] =
        std::from_chars(start, status->data() + status->size(), effective, 16);
    return error == std::errc() && (effective >> kCapNetAdmin) % 2 == 1;
}

AsyncVoid close_servers(std::vector<Server*> servers) {
    for (Server* server : servers) co_await server->close();
}

}  // namespace

Networks::State::State(asio::any_io_executor executor_, records::Records& records_,
                       NetworksOptions options_)
    : executor(executor_), records(records_), options(std::move(options_)),
      may_manage(has_net_admin()), wake(executor_), passed(executor_), scope(executor_) {}

void Networks::State::poke() {
    wanted = true;
    wake.notify_all();
}

Async<> Networks::State::next_pass() {
    const uint64_t pass = passes_begun + 1;
    poke();
    while (passes_done < pass && !closing) {
        co_await passed.wait();
        const auto state = co_await asio::this_coro::cancellation_state;
        if (state.cancelled() != asio::cancellation_type::none) break;
    }
    if (passes_done < pass) co_return Error(ErrorCode::cancelled, "networks: closing");
    co_return Result<void>();
}

AsyncVoid Networks::State::run() {
    while (!closing) {
        if (!wanted) {
            co_await wake.wait();
            continue;
        }
        wanted = false;
        ++passes_begun;
        co_await converge();
        ++passes_done;
        passed.notify_all();
    }
}

// Only what concerns networks: statuses are written here, and those of VMs say nothing of NICs.
AsyncVoid Networks::State::follow_records() {
    state::Revision seen = records.revision();
    while (!closing) {
        co_await records.changed().wait();
        if (closing) co_return;
        const auto changes = records.changes_since(seen);
        seen = records.revision();
        bool concerns = !changes.ok();
        if (changes.ok()) {
            for (const records::Changed& change : *changes) {
                const bool is_kind =
                    change.kind == model::Network::kName || change.kind == model::Vm::kName;
                concerns = concerns || (is_kind && change.what != records::ChangeOf::status);
            }
        }
        if (concerns) poke();
    }
}

AsyncVoid Networks::State::tick() {
    asio::steady_timer timer(executor);
    while (!closing) {
        timer.expires_after(options.check_interval);
        const auto [cancelled] = co_await timer.async_wait(kAwait);
        if (cancelled || closing) co_return;
        if (held.empty()) continue;
        look_at_rules = true;
        poke();
    }
}

std::unique_ptr<Networks> Networks::create(asio::any_io_executor executor,
                                           records::Records& records, NetworksOptions options) {
    return std::unique_ptr<Networks>(
        new Networks(std::make_unique<State>(executor, records, std::move(options))));
}

Networks::Networks(std::unique_ptr<State> state) : state_(std::move(state)) {}

Networks::~Networks() { CHECK(state_->closed); }

bool Networks::may_manage() const { return state_->may_manage; }

Async<> Networks::start() {
    state_->scope.spawn(state_->run());
    state_->scope.spawn(state_->follow_records());
    state_->scope.spawn(state_->tick());
    co_return co_await state_->next_pass();
}

Async<> Networks::apply(Uuid network) {
    CO_TRY(co_await state_->next_pass());
    const auto* record = state_->records.get<model::Network>(network);
    if (record == nullptr) {
        co_return Error(ErrorCode::not_found,
                        fmt::format("network {}: does not exist", network.to_string()));
    }
    const auto held = state_->held.find(network);
    if (held != state_->held.end() && held->second.failure) {
        co_return held->second.failure->with_context(fmt::format("network {}", record->name));
    }
    co_return Result<void>();
}

Async<> Networks::clean(Uuid network) {
    CO_TRY(co_await state_->next_pass());
    const auto held = state_->held.find(network);
    if (held != state_->held.end() && held->second.failure) {
        co_return held->second.failure->with_context(
            fmt::format("network {}", network.to_string()));
    }
    if (state_->rules_failure) co_return *state_->rules_failure;
    co_return Result<void>();
}

Async<model::Lease> Networks::lease(Uuid vm, std::string nic) {
    CO_TRY(co_await state_->next_pass());
    const auto* machine = state_->records.get<model::Vm>(vm);
    const model::VmNic* found = nullptr;
    for (size_t i = 0; machine != nullptr && i < machine->spec.nics.size(); ++i) {
        if (machine->spec.nics[i].name == nic) found = &machine->spec.nics[i];
    }
    if (found == nullptr || !found->network) {
        co_return Error(ErrorCode::not_found,
                        fmt::format("NIC {} of vm {}: is in no network", nic,
                                    machine == nullptr ? vm.to_string() : machine->name));
    }
    const auto* network = state_->records.get<model::Network>(*found->network);
    if (network == nullptr) {
        co_return Error(ErrorCode::not_found,
                        fmt::format("NIC {} of vm {}: its network {} does not exist", nic,
                                    machine->name, found->network->to_string()));
    }
    const std::string context = fmt::format("network {}", network->name);
    const auto held = state_->held.find(network->id);
    if (held != state_->held.end()) {
        const auto refused = held->second.refused.find({vm, nic});
        if (refused != held->second.refused.end()) {
            co_return refused->second.with_context(context);
        }
        if (held->second.failure) co_return held->second.failure->with_context(context);
    }
    for (const model::Lease& lease : network->status.leases) {
        if (lease.vm == vm && lease.nic == nic) co_return lease;
    }
    co_return Error(ErrorCode::busy, context + ": was changed meanwhile; try again");
}

Async<Attachment> Networks::attach(Uuid vm, std::string nic) {
    CO_TRY_ASSIGN(model::Lease lease, co_await this->lease(vm, nic));
    const auto* machine = state_->records.get<model::Vm>(vm);
    std::string bridge;
    for (size_t i = 0; machine != nullptr && i < machine->spec.nics.size(); ++i) {
        const model::VmNic& one = machine->spec.nics[i];
        if (one.name != nic || !one.network) continue;
        const auto* network = state_->records.get<model::Network>(*one.network);
        if (network != nullptr) bridge = network->status.interface;
    }
    if (bridge.empty()) {
        co_return Error(ErrorCode::not_found, fmt::format("NIC {}: its network is gone", nic));
    }
    host::TapSpec spec;
    spec.name = lease.interface;
    spec.bridge = bridge;
    CO_TRY_ASSIGN(host::Descriptor tap, host::open_tap(spec));
    co_return Attachment{std::move(tap), std::move(lease)};
}

AsyncVoid Networks::close() {
    state_->closing = true;
    state_->wake.notify_all();
    state_->passed.notify_all();
    co_await state_->scope.close();
    std::vector<Server*> servers;
    for (const auto& [id, held] : state_->held) {
        if (held.server != nullptr) servers.push_back(held.server.get());
    }
    co_await close_servers(std::move(servers));
    state_->closed = true;
}

}  // namespace stoa::network
