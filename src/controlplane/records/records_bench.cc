// How long 10,000 records take to be read at a start, and what memory they take; commit latency.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <fstream>

#include "controlplane/records/test_store.h"

namespace stoa::records {
namespace {

constexpr uint64_t kRecords = 10'000;

double resident_mib() {
    std::ifstream file("/proc/self/statm");
    uint64_t total = 0;
    uint64_t resident = 0;
    file >> total >> resident;
    return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 20);
}

// VMs with a disk and a NIC, half of them with a launch.
void fill(TestStore& store) {
    for (uint64_t at = 0; at < kRecords;) {
        state::Txn txn;
        for (int i = 0; i < 40 && at < kRecords; ++i, ++at) {
            model::Record<model::Vm> vm;
            vm.id = model::make_id(static_cast<int64_t>(at) * 1'000'000'000, at, at);
            vm.name = "vm" + std::to_string(at);
            vm.labels = {{"tier", "front"}};
            vm.spec.disks.resize(1);
            vm.spec.disks[0].name = "root";
            vm.spec.disks[0].volume = numbered(at + 1);
            vm.spec.nics.resize(1);
            vm.spec.nics[0].name = "lan";
            vm.spec.nics[0].mac = "52:54:00:12:34:56";
            if (at % 2 == 0) vm.status.launch.emplace().boot_id = "b";
            create(txn, vm);
        }
        CHECK(store.commit(std::move(txn)).ok());
    }
}

void load(benchmark::State& state) {
    TestStore store;
    fill(store);
    store.close();
    const double before = resident_mib();
    double with = 0;
    for (auto _ : state) {
        store.open();
        CHECK(store.records().all<model::Vm>().size() == kRecords);
        state.PauseTiming();
        with = resident_mib();
        store.close();
        state.ResumeTiming();
    }
    store.open();
    state.counters["records"] = static_cast<double>(kRecords);
    state.counters["resident_mib_before"] = before;
    state.counters["resident_mib_with"] = with;
}
BENCHMARK(load)->Unit(benchmark::kMillisecond)->Iterations(5);

void commit_one(benchmark::State& state) {
    TestStore store;
    fill(store);
    const Uuid id = store.records().all<model::Vm>().begin()->first;
    for (auto _ : state) {
        state::Txn txn;
        put_status<model::Vm>(txn, id, {});
        CHECK(store.commit(std::move(txn)).ok());
    }
}
BENCHMARK(commit_one)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace stoa::records
