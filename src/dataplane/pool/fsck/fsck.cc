#include "dataplane/pool/fsck/fsck.h"

#include "dataplane/pool/fsck/journal.h"
#include "dataplane/pool/fsck/objects.h"
#include "dataplane/pool/fsck/regions.h"
#include "dataplane/pool/fsck/trees.h"
#include "dataplane/pool/fsck/view.h"

namespace stoa::fsck {

namespace {

void describe_pool(const View& view, Report& report) {
    report.is_pool = true;
    report.pool = view.pool;
    report.pool_name = view.name;
}

// Reads the object tree into `objects`; false if not all of it could be read.
bool load_objects(const View& view, Regions& regions, Objects& objects, Findings& findings) {
    const Superblock& superblock = view.superblock;
    if (superblock.objects == Entry{}) return true;
    WalkOptions options;
    options.domain = 0;
    options.data_class = kDoubledClass;
    options.read_data = true;
    options.visit = [&](uint64_t block, const Block& content) {
        objects.load_block(block, content, superblock, findings);
    };
    Tree tree;
    tree.name = "object tree";
    tree.root = superblock.objects;
    tree.birth_max = superblock.epoch == 0 ? 0 : superblock.epoch - 1;
    tree.end_block = (uint64_t{superblock.object_slots} + kObjectsPerBlock - 1) / kObjectsPerBlock;
    std::vector<Tree> trees{tree};
    return Walk(regions, findings, std::move(options)).run(trees);
}

bool check_trees(const View& view, Regions& regions, const Objects& objects, bool verify_data,
                 Findings& findings) {
    std::vector<Tree> trees = objects.trees(view.superblock);
    WalkOptions options;
    options.domain = 1;
    options.read_data = verify_data;
    options.check_sharing = trees.size() <= kSharingTreesMax;
    const bool complete = Walk(regions, findings, std::move(options)).run(trees);
    objects.check_mapped(trees, findings);
    return complete;
}

}  // namespace

Report check(std::span<Source* const> devices, const Options& options) {
    Report report;
    Findings findings(report, options.messages_max);
    auto view = load_view(devices, findings);
    if (!view) return report;
    describe_pool(*view, report);
    if (!choose_superblock(*view, findings)) return report;
    const Superblock& superblock = view->superblock;
    report.generation = superblock.generation;
    report.incarnation = superblock.incarnation;
    report.epoch = superblock.epoch;
    report.closed_cleanly = (superblock.flags & 1) != 0;
    check_superblock(*view, findings);

    Regions regions(*view, findings);
    Objects objects;
    bool complete = load_objects(*view, regions, objects, findings);
    objects.check(superblock, "", findings);
    objects.count(report.counts);
    complete = check_trees(*view, regions, objects, options.verify_data, findings) && complete;
    regions.report_leaks(complete);
    if (options.journal) check_journal(*view, regions, objects, options.verify_data, findings);
    return report;
}

}  // namespace stoa::fsck
