// A process is killed while it writes; then the same with the loss of everything in memory.
#include "apps/demo/history.h"
#include "apps/demo/process.h"
#include "apps/demo/steps.h"

namespace stoa::apps::demo {

namespace {

constexpr uint64_t kWritesWanted = 5'000;  // acknowledged, before the kill
constexpr uint64_t kPatienceNs = 4'000'000'000;  // or after this time

struct CrashTest {
    std::string volume;
    Crash crash;
};

Result<Child> start_writer(Tour& tour, const std::string& volume) {
    const std::vector<std::string> words{tour.program, "writer", "--ring", tour.workspace.ring(),
                                         "--volume",   volume,   "d0",     "d1"};
    return Child::start(words, Child::Errors::pass_through);
}

// Listens to the writer, kills it in the middle of its work, and hears the rest.
Result<History> kill_while_writing(Tour& tour, const std::string& volume, uint64_t blocks) {
    TRY_ASSIGN(Child writer, start_writer(tour, volume));
    History history(blocks);
    const uint64_t started_ns = tour.now_ns();
    uint64_t acknowledged = 0;
    bool alive = true;
    for (;;) {
        Event event;
        TRY_ASSIGN(const size_t got, writer.read(std::as_writable_bytes(std::span(&event, 1))));
        if (got < sizeof event) break;
        history.add(event);
        if (event.kind == EventKind::write_acknowledged) ++acknowledged;
        const bool late = tour.now_ns() - started_ns > kPatienceNs && acknowledged > 0;
        if (alive && (acknowledged == kWritesWanted || late)) {
            tour.say("kill -9 {}", writer.pid());
            writer.kill();
            alive = false;
        }
    }
    TRY(tour.check(!alive, "the writer was killed while it wrote",
                   fmt::format("it ended by itself after {} writes", acknowledged)));
    return history;
}

io::Task<Result<std::vector<std::optional<uint64_t>>>> versions_found(Tour& tour, Uuid uuid) {
    CO_TRY_ASSIGN(block::Volume * volume, co_await tour.pool().attach(uuid, true));
    std::vector<std::optional<uint64_t>> found(volume->size_bytes() / kBlockBytes);
    AlignedBuffer buffer(kBlockBytes);
    for (uint64_t block = 0; block < found.size(); ++block) {
        CO_TRY(co_await volume->read(block * kBlockBytes, buffer.bytes()));
        found[block] = version_of(block, buffer.bytes());
    }
    co_await tour.pool().detach(volume);
    co_return found;
}

io::Task<Result<void>> recover(Tour& tour) {
    const uint64_t started_ns = tour.now_ns();
    CO_TRY(co_await tour.open());
    const uint64_t took_ns = tour.now_ns() - started_ns;
    tour.say("The pool is open again after {}.", milliseconds(took_ns));
    co_return tour.check(took_ns < 10'000'000'000, "recovery took less than ten seconds");
}

Result<void> check_verdict(Tour& tour, const Verdict& verdict, Crash crash) {
    tour.say(
        "The writer heard of {} finished writes, {} of them not covered by a flush; {} were "
        "in flight.",
        verdict.acknowledged, verdict.unflushed, verdict.in_flight);
    for (const std::string& fault : verdict.faults) tour.say("{}", fault);
    const std::string seen = fmt::format("{} faults", verdict.fault_count);
    if (crash == Crash::process) {
        TRY(tour.check(verdict.fault_count == 0,
                       "every acknowledged write is there, flushed or not; no block is torn",
                       seen));
        return tour.check(verdict.lost == 0, "none is lost", fmt::format("{} are", verdict.lost));
    }
    TRY(tour.check(verdict.fault_count == 0,
                   "every flushed write is there; the others end at one cut; no block is torn",
                   seen));
    tour.say("Lost of the unflushed, as on any disk: {}.", verdict.lost);
    return {};
}

io::Task<Result<void>> crash(Tour& tour, CrashTest test) {
    stoa::pool::VolumeSpec spec;
    spec.name = test.volume;
    spec.size_bytes = kVolumeBytes / 4;
    CO_TRY_ASSIGN(const Uuid uuid, co_await tour.pool().create_volume(spec));
    CO_TRY(co_await tour.close());
    CO_TRY_ASSIGN(const History history,
                  kill_while_writing(tour, test.volume, spec.size_bytes / kBlockBytes));
    if (test.crash == Crash::host) {
        tour.workspace.remove_ring();
        tour.say("The shared memory is removed.");
    }
    for (const std::string& file : tour.workspace.files()) CO_TRY(wait_until_free(file));
    CO_TRY(tour.run_tool({"fsck", "--data", "d0", "d1"}, 0));
    CO_TRY(co_await recover(tour));
    CO_TRY_ASSIGN(const auto found, co_await versions_found(tour, uuid));
    CO_TRY(check_verdict(tour, history.judge(found, test.crash), test.crash));
    CO_TRY(co_await tour.check_content(tour.database, tour.database_now, "database"));
    co_return Result<void>{};
}

}  // namespace

io::Task<Result<void>> step_killed_process(Tour& tour) {
    tour.narrator.title("The process that writes is killed");
    tour.say(
        "Another process opens the pool and writes to volume orders, four writes at a time, "
        "with a flush\nnow and then. It tells over a pipe what it began and what was "
        "acknowledged. Then it is killed.\nA guest would live on and write nothing again: "
        "nothing acknowledged may be missing.");
    co_return co_await crash(tour, {"orders", Crash::process});
}

io::Task<Result<void>> step_dead_host(Tour& tour) {
    tour.narrator.title("The host dies");
    tour.say(
        "The same once more, but what was in shared memory is lost too. Now a flush is what "
        "counts.\n(What a disk's own cache loses cannot be shown on files: "
        "`make test` does it in simulation.)");
    co_return co_await crash(tour, {"letters", Crash::host});
}

}  // namespace stoa::apps::demo
