#include "apps/stoad/host_record.h"

#include <fmt/format.h>

namespace stoa::apps::stoad {

namespace {

// stoa-blockd's default for each open pool.
constexpr uint64_t kPoolCacheBytes = uint64_t{256} << 20;

// A DNS label out of whatever the machine is called.
std::string label_of(const std::string& host_name) {
    std::string label;
    for (const char c : host_name.substr(0, host_name.find('.'))) {
        const bool is_upper = c >= 'A' && c <= 'Z';
        const bool fits = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || is_upper;
        if (fits) label += is_upper ? static_cast<char>(c - 'A' + 'a') : c;
        else if (!label.empty() && label.back() != '-') label += '-';
    }
    label = label.substr(0, model::kNameBytesMax);
    while (!label.empty() && label.back() == '-') label.pop_back();
    return label.empty() ? "host" : label;
}

}  // namespace

Async<Uuid> ensure_host_record(records::Records& records, std::string host_name, task::Ids& ids) {
    // One host keeps its own store; the first record is its own.
    const auto& all = records.all<model::Host>();
    if (!all.empty()) co_return all.begin()->first;
    model::Record<model::Host> record;
    record.id = ids.next();
    record.name = label_of(host_name);
    record.created_ns = ids.now_ns();
    state::Txn txn;
    records::create(txn, record);
    const auto done = co_await records.commit(std::move(txn));
    if (!done.ok()) co_return done.error();
    co_return record.id;
}

model::HostStatus host_status(const host::HostFacts& facts, const host::KvmProbe& probe,
                              bool uses_kvm, const std::vector<host::Finding>& findings) {
    model::HostStatus status;
    status.boot_id = facts.boot_id;
    status.version = STOA_VERSION;
    status.kernel = facts.kernel;
    status.qemu_version = facts.qemu_version;
    status.cpus = facts.cpus;
    status.memory_bytes = facts.memory.usable_bytes();
    status.accelerator.name = uses_kvm ? "kvm" : "tcg";
    status.accelerator.reason = probe.reason;
    status.accelerator.operations_per_second = probe.operations_per_second;
    status.accelerator.measured_ns = probe.measured_ns;
    status.guests_isolated = facts.is_root;
    if (!facts.is_root) {
        status.warnings.emplace_back(
            "guests are not isolated from each other: all run as this user; run stoad as root");
    }
    for (const host::Finding& finding : findings) {
        if (finding.severity == host::Severity::info) continue;
        status.warnings.push_back(fmt::format("{}: {}", finding.what, finding.consequence));
    }
    return status;
}

Async<> write_host_status(records::Records& records, Uuid host, model::HostStatus status) {
    state::Txn txn;
    records::put_status<model::Host>(txn, host, status);
    const auto done = co_await records.commit(std::move(txn));
    if (!done.ok()) co_return done.error();
    co_return Result<void>();
}

machine::MemoryBudget memory_budget(const records::Records& records, const Uuid& host,
                                    const host::Memory& memory) {
    machine::MemoryBudget budget;
    budget.host_bytes = memory.total_bytes;
    budget.cgroup_limit_bytes = memory.limit_bytes.value_or(0);
    const auto* record = records.get<model::Host>(host);
    if (record != nullptr) budget.reserve_bytes = record->spec.reserve_bytes;
    budget.caches_bytes = records.all<model::Pool>().size() * kPoolCacheBytes;
    return budget;
}

}  // namespace stoa::apps::stoad
