// Methods of attachments, origins, tasks and the daemon itself.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <utility>

#include "dataplane/service/metrics.h"
#include "dataplane/service/service.h"

namespace stoa::service {

namespace {

constexpr std::array<std::string_view, nbd::kCommands> kCommandNames = {
    "read", "write", "disconnect", "flush", "trim", "cache", "write_zeroes", "block_status"};

void add_pool(Metrics& to, const rpc::PoolStatus& status) {
    const Metrics::Labels labels = {{"pool", status.name}};
    to.gauge("stoa_pool_open", "1 if the pool is open", labels,
             status.state == rpc::PoolState::open ? 1 : 0);
    to.gauge("stoa_pool_read_only", "1 if the pool accepts no changes", labels,
             status.read_only ? 1 : 0);
    to.gauge("stoa_pool_host_full", "1 while writes wait for a file system below that is full",
             labels, std::ranges::any_of(status.devices, &rpc::DeviceStatus::host_full) ? 1 : 0);
    if (!status.space) return;
    const auto space = [&](std::string kind, uint64_t bytes) {
        to.gauge("stoa_pool_space_bytes", "Space of the pool by use; all kinds add up to its size",
                 {{"pool", status.name}, {"kind", std::move(kind)}}, static_cast<double>(bytes));
    };
    space("system", status.space->system_bytes);
    space("data", status.space->data_bytes);
    space("nodes", status.space->node_bytes);
    space("quarantine", status.space->quarantine_bytes);
    space("bad", status.space->bad_bytes);
    space("free", status.space->free_bytes);
    space("away", status.space->away_bytes);
}

void add_engine(Metrics& to, const std::string& pool, const pool::Counters& from) {
    const Metrics::Labels labels = {{"pool", pool}};
    to.counter("stoa_pool_commits_total", "Commits of the journal", labels, from.commits);
    to.counter("stoa_pool_checkpoints_total", "Checkpoints", labels, from.checkpoints);
    to.seconds("stoa_pool_checkpoint_seconds_total", "Time that checkpoints took", labels,
               from.checkpoint_ns);
    to.gauge("stoa_pool_journal_bytes", "Size of the journal", labels,
             static_cast<double>(from.journal_bytes));
    to.gauge("stoa_pool_journal_used_bytes", "Of the journal, until the next checkpoint", labels,
             static_cast<double>(from.journal_used_bytes));
    to.counter("stoa_pool_device_flushes_total", "Flushes of devices", labels, from.device_flushes);
    to.counter("stoa_pool_node_hits_total", "Map nodes found in the cache", labels, from.node_hits);
    to.counter("stoa_pool_node_misses_total", "Map nodes read from a device", labels,
               from.node_misses);
    to.counter("stoa_pool_node_writes_total", "Map nodes written", labels, from.node_writes);
    to.gauge("stoa_pool_held_writes", "Writes that wait for space", labels,
             static_cast<double>(from.held_now));
    to.counter("stoa_pool_held_writes_total", "Writes that had to wait for space", labels,
               from.held_writes);
    to.counter("stoa_pool_checksum_repairs_total", "Blocks repaired from their other copy", labels,
               from.checksum_repairs);
    to.counter("stoa_pool_checksum_errors_total", "Blocks that failed their checksum", labels,
               from.checksum_errors);
}

// As requests name it.
std::string name_of(const Result<pool::Pool*>& pool, const Uuid& object) {
    if (!pool.ok()) return object.to_string();
    if (const auto volume = (*pool)->volume(object); volume.ok()) return volume->name;
    const auto snapshot = (*pool)->snapshot_info(object);
    if (!snapshot.ok()) return object.to_string();
    const auto volume = (*pool)->volume(snapshot->volume);
    return volume.ok() ? fmt::format("{}@{}", volume->name, snapshot->name) : snapshot->name;
}

// `of`: the attachment, which no other has.
void add_server(Metrics& to, const Metrics::Labels& of, const nbd::Counters& from) {
    for (size_t i = 0; i < kCommandNames.size(); ++i) {
        if (static_cast<nbd::Command>(i) == nbd::Command::disconnect) continue;
        const nbd::Counters::Operations& operations = from.operations.at(i);
        Metrics::Labels labels = of;
        labels.emplace_back("operation", kCommandNames.at(i));
        to.counter("stoa_volume_bytes_total", "Bytes of requests that succeeded", labels,
                   operations.bytes);
        to.counter("stoa_volume_errors_total", "Requests that failed", labels, operations.errors);
        to.histogram("stoa_volume_latency_seconds",
                     "From a request's arrival to its answer, of those that succeeded", labels,
                     operations.latency);
    }
    to.gauge("stoa_volume_requests_in_flight", "Requests being served", of,
             static_cast<double>(from.in_flight));
    to.gauge("stoa_volume_connections", "Clients", of, static_cast<double>(from.connections));
    to.counter("stoa_volume_connections_total", "Clients that connected", of,
               from.connections_total);
    to.counter("stoa_volume_handshakes_failed_total", "Clients that got no export", of,
               from.handshakes_failed);
    to.counter("stoa_volume_connections_refused_total", "Clients beyond the limits", of,
               from.refused);
}

}  // namespace

void Service::add_daemon_methods() {
    add("attachment.create", &Service::attachment_create);
    add("attachment.delete", &Service::attachment_delete);
    add("attachment.reload_tls", &Service::attachment_reload_tls);
    add("attachment.get", &Service::attachment_get);
    add("attachment.list", &Service::attachment_list);
    add("origin.create", &Service::origin_create);
    add("origin.get", &Service::origin_get);
    add("origin.list", &Service::origin_list);
    add("origin.delete", &Service::origin_delete);
    add("task.get", &Service::task_get);
    add("task.list", &Service::task_list);
    add("task.cancel", &Service::task_cancel);
    add("daemon.info", &Service::daemon_info);
    add("daemon.stop", &Service::daemon_stop);
    add("daemon.metrics", &Service::daemon_metrics);
    add("daemon.trace", &Service::daemon_trace);
    add("rpc.methods", &Service::rpc_methods);
}

io::Task<Result<rpc::AttachmentStatus>> Service::attachment_create(rpc::AttachmentCreate request) {
    CO_TRY(check_not_own(request.listen));
    co_return co_await attachments_.create(std::move(request));
}

// What the daemon itself keeps there would be in the way, or replaced.
Result<void> Service::check_not_own(const std::string& listen) const {
    TRY_ASSIGN(const io::Address address, io::Address::parse(listen));
    if (address.path.empty()) return {};
    const auto parent = std::filesystem::path(address.path).parent_path();
    for (const std::string& own : {options_.root + "/blockd", pools_.ring_directory()}) {
        std::error_code failed;
        if (!std::filesystem::equivalent(parent, own, failed) || failed) continue;
        return Error(ErrorCode::invalid_argument,
                     fmt::format("{}: {} is the daemon's own directory; choose another one",
                                 address.to_string(), own));
    }
    return {};
}

io::Task<Result<rpc::Nothing>> Service::attachment_delete(rpc::AttachmentRef request) {
    CO_TRY(co_await attachments_.remove(request.uuid));
    co_return rpc::Nothing{};
}

io::Task<Result<rpc::Nothing>> Service::attachment_reload_tls(rpc::AttachmentRef request) {
    CO_TRY(attachments_.reload_tls(request.uuid));
    co_return rpc::Nothing{};
}

io::Task<Result<rpc::AttachmentStatus>> Service::attachment_get(rpc::AttachmentRef request) {
    co_return attachments_.status(request.uuid);
}

io::Task<Result<rpc::AttachmentList>> Service::attachment_list(rpc::Nothing /*request*/) {
    co_return rpc::AttachmentList{attachments_.list()};
}

io::Task<Result<rpc::OriginStatus>> Service::origin_create(rpc::OriginCreate request) {
    return origins_.create(std::move(request));
}

io::Task<Result<rpc::Nothing>> Service::origin_delete(rpc::OriginRef request) {
    CO_TRY(co_await origins_.remove(request.origin));
    co_return rpc::Nothing{};
}

io::Task<Result<rpc::OriginStatus>> Service::origin_get(rpc::OriginRef request) {
    co_return origins_.status(request.origin);
}

io::Task<Result<rpc::OriginList>> Service::origin_list(rpc::Nothing /*request*/) {
    co_return rpc::OriginList{origins_.list()};
}

io::Task<Result<rpc::TaskStatus>> Service::task_get(rpc::TaskRef request) {
    co_return background_.status(request.task);
}

io::Task<Result<rpc::TaskList>> Service::task_list(rpc::Nothing /*request*/) {
    co_return rpc::TaskList{background_.list()};
}

io::Task<Result<rpc::Nothing>> Service::task_cancel(rpc::TaskRef request) {
    CO_TRY(background_.cancel(request.task));
    co_return rpc::Nothing{};
}

io::Task<Result<rpc::DaemonInfo>> Service::daemon_info(rpc::Nothing /*request*/) {
    rpc::DaemonInfo info;
    info.version = options_.version;
    info.instance = state_->state.instance;
    info.pid = static_cast<uint64_t>(::getpid());
    info.started_ns = started_ns_;
    co_return info;
}

io::Task<Result<rpc::Nothing>> Service::daemon_stop(rpc::Nothing /*request*/) {
    // After the answer.
    background_.start("daemon.stop", std::nullopt, false,
                      [this](Background::Control& /*control*/) { return stop_soon(); });
    co_return rpc::Nothing{};
}

io::Task<Result<void>> Service::stop_soon() {
    constexpr uint64_t kAnswerNs = 50'000'000;
    co_await reactor_.sleep_ns(kAnswerNs);
    if (stop_requested_) stop_requested_();
    co_return Result<void>{};
}

io::Task<Result<rpc::Text>> Service::daemon_metrics(rpc::Nothing /*request*/) {
    Metrics metrics;
    metrics.gauge("stoa_blockd_start_time_seconds", "When the daemon started, since 1970", {},
                  static_cast<double>(started_ns_) * 1e-9);
    for (const Uuid& uuid : pools_.list()) {
        add_pool(metrics, pools_.status(uuid));
        const auto pool = pools_.get(uuid);
        if (pool.ok()) add_engine(metrics, pools_.name(uuid), (*pool)->counters());
    }
    for (const rpc::OriginStatus& origin : origins_.list()) {
        metrics.gauge("stoa_origin_connected", "1 if the origin's server answers",
                      {{"origin", origin.uuid.to_string()}}, origin.connected ? 1 : 0);
    }
    attachments_.visit([&](const AttachmentRecord& record, const nbd::Server& server) {
        add_server(metrics,
                   {{"pool", pools_.name(record.pool)},
                    {"volume", name_of(pools_.get(record.pool), record.object)},
                    {"attachment", record.uuid.to_string()}},
                   server.counters());
    });
    co_return rpc::Text{metrics.text()};
}

io::Task<Result<rpc::Text>> Service::daemon_trace(rpc::Nothing /*request*/) {
    std::string text = "ended_s volume connection operation offset length duration_us error\n";
    attachments_.visit([&](const AttachmentRecord& record, const nbd::Server& server) {
        server.trace().visit([&](const nbd::OperationTrace::Entry& entry) {
            text +=
                fmt::format("{:.6f} {} {} {} {} {} {} {}\n",
                            static_cast<double>(entry.ended_ns) * 1e-9, record.export_name,
                            entry.connection, kCommandNames.at(static_cast<size_t>(entry.command)),
                            entry.offset_bytes, entry.length_bytes, entry.duration_us, entry.error);
        });
    });
    co_return rpc::Text{std::move(text)};
}

io::Task<Result<rpc::MethodList>> Service::rpc_methods(rpc::Nothing /*request*/) {
    rpc::MethodList list;
    for (const auto& [name, method] : methods_) list.methods.push_back(name);
    list.methods.push_back("events.subscribe");
    co_return list;
}

}  // namespace stoa::service
