// stoa-pool dump: a pool's metadata as JSON lines, for support. No user data: neither the content
// of blocks nor tags. Damaged structures are left out and told as lines of type "problem".
#include <fmt/format.h>

#include <cstdio>
#include <variant>

#include "apps/pool/commands.h"
#include "apps/pool/files.h"
#include "apps/pool/json.h"
#include "base/output.h"
#include "dataplane/pool/fsck/journal.h"
#include "dataplane/pool/fsck/objects.h"
#include "dataplane/pool/fsck/records.h"
#include "dataplane/pool/fsck/regions.h"
#include "dataplane/pool/fsck/trees.h"
#include "dataplane/pool/fsck/view.h"

namespace stoa::apps::pool {

namespace {

JsonObject line(std::string_view type) { return std::move(JsonObject().add("type", type)); }
void print(const JsonObject& object) { stoa::print("{}\n", object.text()); }

std::string entry_json(const fsck::Entry& entry) {
    JsonObject json;
    json.add("kind", fsck::to_string(entry.kind())).add("address", entry.address());
    json.add("birth", entry.birth()).add("crc", fmt::format("{:08x}", entry.crc()));
    if ((entry.kind_byte() & fsck::kMoved) != 0) json.add("moved", true);
    if ((entry.kind_byte() & fsck::kHydrated) != 0) json.add("hydrated", true);
    return json.text();
}

void dump_labels(const fsck::View& view) {
    for (const auto& device : view.devices) {
        if (!device) continue;
        const fsck::Label& label = device->label;
        JsonObject json = line("label");
        json.add("device", device->source->name()).add("index", label.index);
        json.add("pool", label.pool.to_string()).add("uuid", label.device.to_string());
        json.add("name", label.name).add("creation", label.creation.to_string());
        json.add("region_blocks", label.geometry.region_blocks);
        json.add("journal_blocks", label.geometry.journal_blocks);
        json.add("table_blocks", label.geometry.table_blocks);
        json.add("index_blocks", label.geometry.index_blocks);
        json.add("regions_max", label.geometry.regions_max).add("data_start", label.data_start);
        json.add("compat", label.compat).add("read_only_compat", label.read_only_compat);
        json.add("incompat", label.incompat).add("size_blocks", device->size_blocks);
        print(json);
    }
}

void dump_superblock(const fsck::Superblock& s, bool chosen) {
    std::vector<std::string> cuts;
    for (const fsck::Cut& cut : s.cuts) {
        JsonObject json;
        json.add("journal_block", cut.journal_block).add("incarnation", cut.incarnation);
        cuts.push_back(json.add("sequence", cut.sequence).text());
    }
    std::vector<std::string> devices;
    for (size_t i = 0; i < s.devices.size(); ++i) {
        if (s.devices[i].state == 0) continue;
        JsonObject json;
        json.add("index", i).add("uuid", s.devices[i].uuid.to_string());
        json.add("physical_regions", s.devices[i].physical_regions);
        devices.push_back(json.add("state", s.devices[i].state).text());
    }
    JsonObject json = line("superblock");
    json.add("chosen", chosen).add("generation", s.generation).add("incarnation", s.incarnation);
    json.add("epoch", s.epoch).add("journal_start", s.journal_start).add("commit", s.commit);
    json.add("sequence", s.sequence).add("flags", s.flags).add("owner", s.owner.to_string());
    json.add("wall_ns", s.wall_ns).raw("objects", entry_json(s.objects));
    json.add("next_object_id", s.next_object_id);
    json.add("placement_0", s.placement[0]).add("placement_1", s.placement[1]);
    json.add("device_count", s.device_count).add("region_count", s.region_count);
    json.add("object_slots", s.object_slots).add("reserve_blocks", s.reserve_blocks);
    json.add("acknowledged_incarnation", s.acknowledged_incarnation);
    json.add("bad_blocks", s.bad_blocks);
    json.raw("cuts", json_array(cuts)).raw("devices", json_array(devices));
    print(json);
}

JsonObject region_json(uint64_t number, const fsck::RegionEntry& entry) {
    std::vector<std::string> places;
    for (size_t i = 0; i < std::min<size_t>(entry.places, 3); ++i) {
        JsonObject place;
        place.add("device", entry.place[i].device).add("physical", entry.place[i].physical);
        places.push_back(place.text());
    }
    JsonObject json = line("region");
    json.add("number", number).add("state", entry.state).add("class", entry.region_class);
    json.add("bitmap_slot", entry.bitmap_slot);
    json.add("bitmap_crc", fmt::format("{:08x}", entry.bitmap_crc));
    json.add("free_blocks", entry.free_blocks).raw("places", json_array(places));
    return json;
}

void dump_regions(const fsck::View& view) {
    for (uint64_t i = 0; i < view.geometry.index_blocks; ++i) {
        const auto index = read_index(view, view.superblock, i, nullptr);
        if (!index) continue;
        const uint64_t end = std::min<uint64_t>(view.geometry.table_blocks, (i + 1) * 512);
        for (uint64_t t = i * 512; t < end; ++t) {
            const fsck::IndexSlot slot = fsck::table_slot(*index, t);
            if (slot.crc == 0) continue;
            const auto table = read_table(view, view.superblock, slot, t, nullptr);
            if (!table) continue;
            for (uint64_t k = 0; k < 64; ++k) {
                const auto entry = fsck::load_region_entry(table->data() + 64 * k);
                if (entry.state != 0) print(region_json(64 * t + k, entry));
            }
        }
    }
}

void add_object(JsonObject& json, const fsck::Object& o) {
    json.add("kind", o.kind).add("id", o.id).add("uuid", o.uuid.to_string()).add("name", o.name);
    json.add("flags", o.flags).add("parent", o.parent).add("epoch", o.epoch);
    json.add("size_bytes", o.size_bytes).raw("root", entry_json(o.root)).add("volume", o.volume);
    json.add("created_ns", o.created_ns).add("branch", o.branch);
    json.add("branch_parent", o.branch_parent).add("branch_epoch", o.branch_epoch);
    json.add("cursor", o.cursor).add("mapped", o.mapped).add("origin", o.origin.to_string());
    json.add("damage_first", o.damage_first).add("damage_blocks", o.damage_blocks);
}

void print_node(const fsck::Tree& tree, const fsck::Entry& entry, int level, uint64_t first_block,
                const fsck::Block& content) {
    std::vector<std::string> entries;
    for (uint64_t i = 0; i < fsck::kEntriesPerNode; ++i) {
        const fsck::Entry child = fsck::load_entry(content.data() + 16 * i);
        if (child == fsck::Entry{}) continue;
        entries.push_back(JsonObject().add("index", i).raw("entry", entry_json(child)).text());
    }
    JsonObject json = line("node");
    json.add("tree", tree.name).add("level", level).add("first_block", first_block);
    print(json.raw("at", entry_json(entry)).raw("entries", json_array(entries)));
}

// Objects, and with `nodes` the nodes of all trees.
void dump_trees(const fsck::View& view, bool nodes, fsck::Findings& findings) {
    const fsck::Superblock& superblock = view.superblock;
    if (superblock.objects == fsck::Entry{}) return;
    fsck::Regions regions(view, findings);
    fsck::Objects objects;
    fsck::WalkOptions options;
    options.data_class = fsck::kDoubledClass;
    options.read_data = true;
    if (nodes) options.visit_node = print_node;
    options.visit = [&](uint64_t block, const fsck::Block& content) {
        objects.load_block(block, content, superblock, findings);
        for (uint64_t i = 0; i < fsck::kObjectsPerBlock; ++i) {
            const auto object = fsck::decode_object(content.data() + i * fsck::kObjectBytes);
            if (!object || object->kind == fsck::kFreeSlot) continue;
            JsonObject json = line("object");
            json.add("slot", block * fsck::kObjectsPerBlock + i);
            add_object(json, *object);
            print(json);
        }
    };
    fsck::Tree tree;
    tree.name = "object tree";
    tree.root = superblock.objects;
    tree.birth_max = UINT64_MAX;
    tree.end_block = fsck::kTreeBlocks;
    std::vector<fsck::Tree> trees{tree};
    fsck::Walk(regions, findings, std::move(options)).run(trees);
    if (!nodes) return;
    objects.check(superblock, "", findings);
    trees = objects.trees(superblock);
    fsck::WalkOptions of_volumes;
    of_volumes.domain = 1;
    of_volumes.visit_node = print_node;
    fsck::Walk(regions, findings, std::move(of_volumes)).run(trees);
}

struct RecordPrinter {
    void operator()(const fsck::MapRecord& record) const {
        JsonObject json = line("map_record");
        json.add("commit", commit).add("object", record.object);
        json.add("first_block", record.first_block).add("count", record.fresh.size());
        std::vector<std::string> blocks;
        for (size_t i = 0; i < record.fresh.size(); ++i) {
            JsonObject block;
            block.raw("new", entry_json(record.fresh[i])).raw("old", entry_json(record.old[i]));
            blocks.push_back(block.add("frees_old", bool{record.freed[i]}).text());
        }
        print(json.raw("blocks", json_array(blocks)));
    }
    void operator()(const fsck::StructureRecord& record) const {
        for (const fsck::StructureItem& item : record.items) {
            using What = fsck::StructureItem::What;
            JsonObject json = line("structure_item");
            json.add("commit", commit);
            if (item.what == What::put) add_object(json.add("what", "put"), item.object);
            if (item.what == What::copy) json.add("what", "copy").add("from", item.number);
            if (item.what == What::copy) json.add("to", item.to);
            if (item.what == What::remove) json.add("what", "remove").add("id", item.number);
            if (item.what == What::epoch) json.add("what", "epoch").add("epoch", item.number);
            if (item.what == What::assign) {
                json.add("what", "assign");
                json.raw("region", region_json(item.number, item.region).text());
            }
            print(json);
        }
    }
    void operator()(const fsck::ReclaimRecord& record) const {
        std::vector<std::string> runs;
        runs.reserve(record.freed.size());
        for (const auto& run : record.freed) {
            runs.push_back(
                JsonObject().add("address", run.address).add("blocks", run.blocks).text());
        }
        JsonObject json = line("reclaim_record");
        json.add("commit", commit).add("object", record.object).add("cursor", record.cursor);
        print(json.add("unmapped", record.unmapped).raw("freed", json_array(runs)));
    }
    void operator()(const fsck::EndRecord& record) const {
        JsonObject json = line("commit_end");
        json.add("commit", commit).add("first_sequence", record.first_sequence);
        print(json.add("last_sequence", record.last_sequence).add("wall_ns", record.wall_ns));
    }
    uint64_t commit;
};

void dump_journal(const fsck::View& view, fsck::Findings& findings) {
    const fsck::JournalScan scan = scan_journal(view, findings);
    print(line("journal").add("cut", scan.cut).add("proven", scan.proven));
    for (const fsck::Commit& commit : scan.commits) {
        JsonObject json = line("commit");
        json.add("number", commit.number).add("first_block", commit.first_block);
        print(json.add("blocks", commit.blocks).add("incarnation", commit.incarnation));
        const auto records = fsck::decode_records(read_commit(view, commit));
        if (!records) {
            findings.problem("journal commit {}: has {}", commit.number, records.error());
            continue;
        }
        for (const fsck::Record& record : *records) {
            std::visit(RecordPrinter{commit.number}, record);
        }
    }
}

}  // namespace

int run_dump(const DumpCommand& command) {
    auto files = open_files(command.devices, !command.online);
    if (!files) return fail(files.error());
    fsck::Report report;
    fsck::Findings findings(report, fsck::Options{}.messages_max);
    auto view = fsck::load_view(files->sources, findings);
    if (view) {
        dump_labels(*view);
        const bool chosen = choose_superblock(*view, findings);
        for (const fsck::SuperblockFound& found : view->superblocks) {
            dump_superblock(found.superblock,
                            chosen && found.superblock.generation == view->superblock.generation);
        }
        if (chosen) {
            dump_regions(*view);
            dump_trees(*view, command.nodes, findings);
            dump_journal(*view, findings);
        }
    }
    for (const std::string& text : report.problems) print(line("problem").add("text", text));
    for (const std::string& text : report.repairable) print(line("repairable").add("text", text));
    if (!view) {
        return fail_open(Error(ErrorCode::not_found, "no pool on these devices"));
    }
    return kOk;
}

}  // namespace stoa::apps::pool
