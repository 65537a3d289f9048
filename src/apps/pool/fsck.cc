// stoa-pool fsck: says what is wrong with a pool; never writes.
#include "dataplane/pool/fsck/fsck.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <thread>

#include "apps/pool/commands.h"
#include "apps/pool/files.h"
#include "apps/pool/json.h"
#include "base/output.h"

namespace stoa::apps::pool {

namespace {

constexpr auto kRecheckAfter = std::chrono::milliseconds(250);

void keep_lasting(std::vector<std::string>& now, uint64_t& count,
                  const std::vector<std::string>& before) {
    std::erase_if(now, [&](const std::string& line) {
        return std::ranges::find(before, line) == before.end();
    });
    count = now.size();
}

// A pool in use changes under the check: only what two checks say counts.
fsck::Report check_online(const Files& files, const fsck::Options& options) {
    fsck::Report first = fsck::check(files.sources, options);
    if (first.clean() || !first.is_pool) return first;
    std::this_thread::sleep_for(kRecheckAfter);
    fsck::Report second = fsck::check(files.sources, options);
    keep_lasting(second.problems, second.problem_count, first.problems);
    keep_lasting(second.repairable, second.repairable_count, first.repairable);
    second.notes.push_back("the pool was checked while in use: what two checks found counts");
    return second;
}

void print_json(const fsck::Report& report) {
    const fsck::Counts& c = report.counts;
    JsonObject counts;
    counts.add("regions", c.regions).add("allocated_blocks", c.allocated_blocks);
    counts.add("data_blocks", c.data_blocks).add("nodes", c.nodes);
    counts.add("object_blocks", c.object_blocks).add("leaked_blocks", c.leaked_blocks);
    counts.add("bad_blocks", c.bad_blocks).add("volumes", c.volumes);
    counts.add("snapshots", c.snapshots).add("orphans", c.orphans);
    counts.add("damage_ranges", c.damage_ranges).add("commits", c.commits);
    counts.add("records", c.records).add("data_verified", c.data_verified);
    JsonObject all;
    all.add("pool", report.pool.to_string()).add("name", report.pool_name);
    all.add("generation", report.generation).add("incarnation", report.incarnation);
    all.add("epoch", report.epoch).add("closed_cleanly", report.closed_cleanly);
    all.add("journal_pending", report.journal_pending);
    all.add("problem_count", report.problem_count).add("problems", report.problems);
    all.add("repairable_count", report.repairable_count).add("repairable", report.repairable);
    all.add("notes", report.notes).raw("counts", counts.text());
    stoa::print("{}\n", all.text());
}

void print_lines(const char* kind, const std::vector<std::string>& lines, uint64_t count) {
    for (const std::string& line : lines) stoa::print("{}: {}\n", kind, line);
    if (count > lines.size()) stoa::print("{}: {} more\n", kind, count - lines.size());
}

void print_text(const fsck::Report& report) {
    print_lines("problem", report.problems, report.problem_count);
    print_lines("repairable", report.repairable, report.repairable_count);
    print_lines("note", report.notes, report.notes.size());
    if (!report.is_pool) return;
    const fsck::Counts& c = report.counts;
    stoa::print("pool {} ({}), generation {}, {}\n", JsonObject::quote(report.pool_name),
                report.pool.to_string(), report.generation,
                report.closed_cleanly ? "closed cleanly" : "not closed");
    stoa::print("{}, {}, {} being reclaimed, {}\n", count_of(c.volumes, "volume"),
                count_of(c.snapshots, "snapshot"), c.orphans,
                count_of(c.damage_ranges, "damage range"));
    stoa::print("{}, {}, {} allocated, {} bad, {} leaked\n", count_of(c.data_blocks, "data block"),
                count_of(c.nodes, "node"), count_of(c.allocated_blocks, "block"), c.bad_blocks,
                c.leaked_blocks);
    if (report.journal_pending) {
        stoa::print("{} with {} {} in the journal for the next start\n",
                    count_of(c.commits, "commit"), count_of(c.records, "record"),
                    c.commits == 1 ? "waits" : "wait");
    }
    if (c.data_verified > 0)
        stoa::print("{} read and verified\n", count_of(c.data_verified, "block"));
    if (report.clean()) stoa::print("no problems\n");
    else
        stoa::print("{}, {} repairable\n", count_of(report.problem_count, "problem"),
                    report.repairable_count);
}

}  // namespace

int run_fsck(const FsckCommand& command) {
    auto files = open_files(command.devices, !command.online);
    if (!files) return fail(files.error());
    fsck::Options options;
    options.verify_data = command.data;
    const fsck::Report report =
        command.online ? check_online(*files, options) : fsck::check(files->sources, options);
    if (command.json) print_json(report);
    else print_text(report);
    if (!report.is_pool) return kNotAPool;
    if (report.problem_count > 0) return kProblems;
    return report.repairable_count > 0 ? kRepairable : kOk;
}

}  // namespace stoa::apps::pool
