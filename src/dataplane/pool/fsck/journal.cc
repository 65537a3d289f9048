#include "dataplane/pool/fsck/journal.h"

#include <algorithm>
#include <utility>

#include "dataplane/pool/fsck/records.h"

namespace stoa::fsck {

namespace {

// The incarnation that the block at position `number` must carry; nothing before the first cut.
std::optional<uint64_t> incarnation_at(const Superblock& superblock, uint64_t number) {
    std::optional<uint64_t> incarnation;
    for (const Cut& cut : superblock.cuts) {
        if (cut.journal_block <= number) incarnation = cut.incarnation;
    }
    return incarnation;
}

struct Found {
    JournalBlock header;
    Block block;
};

// The block at position `number`, from whichever copy verifies; `bad_copy` says if one does not.
std::optional<Found> read_position(const View& view, uint64_t number, int* bad_copy) {
    const Superblock& superblock = view.superblock;
    const auto incarnation = incarnation_at(superblock, number);
    std::optional<Found> found;
    for (int copy = 0; copy < 2; ++copy) {
        Block block;
        std::optional<JournalBlock> header;
        if (view.journal_counts(superblock.placement[static_cast<size_t>(copy)]) &&
            view.read(superblock.placement[static_cast<size_t>(copy)],
                      view.geometry.journal(copy, number), block)) {
            header = decode_journal_block(block, view.pool);
        }
        if (header && header->number == number && header->incarnation == incarnation) {
            if (!found) found = {*header, block};
        } else if (bad_copy != nullptr) {
            *bad_copy = copy;
        }
    }
    return found;
}

// Whether `block` continues the commit `number` after `index` blocks with the given chain.
bool continues(const JournalBlock& block, uint64_t number, uint32_t index, uint32_t chain) {
    const bool is_first = (block.flags & kFirstBlock) != 0;
    return block.commit == number && block.index == index && block.chain == chain &&
           is_first == (index == 0) && (block.flags & kProofNote) == 0;
}

// The commit `number` if it begins at `start` and is complete before `limit`.
std::optional<Commit> scan_commit(const View& view, uint64_t number, uint64_t start, uint64_t limit,
                                  Findings& findings) {
    uint32_t chain = 0;
    std::vector<std::pair<uint64_t, int>> bad_copies;
    for (uint64_t position = start; position < limit; ++position) {
        int bad_copy = -1;
        const auto found = read_position(view, position, &bad_copy);
        const auto index = static_cast<uint32_t>(position - start);
        if (!found || !continues(found->header, number, index, chain)) return std::nullopt;
        if (bad_copy >= 0) bad_copies.emplace_back(position, bad_copy);
        chain = found->header.crc;
        if ((found->header.flags & kLastBlock) != 0) {
            for (const auto& [where, copy] : bad_copies) {
                findings.repairable("journal block {}: copy {} is bad, the other one is good",
                                    where, copy);
            }
            return Commit{number, start, position - start + 1, found->header.incarnation};
        }
        if (found->header.payload_bytes != kJournalPayloadBytes) {
            findings.problem("journal block {}: {} payload bytes, but not the last of commit {}",
                             position, found->header.payload_bytes, number);
            return std::nullopt;
        }
    }
    return std::nullopt;
}

// Every block of both copies: what is proven, and signs of newer state.
class RingScan {
public:
    RingScan(const View& view, JournalScan& scan, Findings& findings)
        : view_(view), scan_(scan), findings_(findings),
          last_(view.superblock.commit + scan.commits.size()) {}

    void run() {
        for (int copy = 0; copy < 2; ++copy) {
            const uint16_t device = view_.superblock.placement[static_cast<size_t>(copy)];
            if (!view_.journal_counts(device)) continue;
            for (uint64_t slot = 0; slot < view_.geometry.journal_blocks; ++slot) {
                Block block;
                if (!view_.read(device, view_.geometry.journal(copy, slot), block)) continue;
                const auto header = decode_journal_block(block, view_.pool);
                if (header && header->number % view_.geometry.journal_blocks == slot) {
                    look(*header);
                }
            }
        }
        if (scan_.proven > last_) {
            findings_.problem(
                "journal: commit {} was durable, but the last one that can be read "
                "is {}: the pool is damaged",
                scan_.proven, last_);
        }
    }

private:
    void look(const JournalBlock& block) {
        const Superblock& superblock = view_.superblock;
        if (block.incarnation > superblock.incarnation) {
            if (std::exchange(said_incarnation_, true)) return;
            findings_.problem(
                "journal block {}: is of incarnation {}, the superblock of {}: newer "
                "state is lost",
                block.number, block.incarnation, superblock.incarnation);
            return;
        }
        if (block.generation > superblock.generation && !std::exchange(said_generation_, true)) {
            findings_.problem(
                "journal block {}: names superblock generation {}, the newest one "
                "found is {}: newer state is lost",
                block.number, block.generation, superblock.generation);
        }
        if (block.incarnation != incarnation_at(superblock, block.number)) return;  // void
        if (block.number < superblock.journal_start) return;
        scan_.proven = std::max(scan_.proven, block.proven);
        if (block.number >= scan_.cut && block.commit > last_ + 1 &&
            !std::exchange(said_break_, true)) {
            findings_.problem(
                "journal block {}: is of commit {} beyond a break after commit {}: "
                "the pool is damaged",
                block.number, block.commit, last_);
        }
    }

    const View& view_;
    JournalScan& scan_;
    Findings& findings_;
    uint64_t last_;  // complete commit
    // Each sign is told once: a lost superblock makes many of them.
    bool said_incarnation_ = false;
    bool said_generation_ = false;
    bool said_break_ = false;
};

// Applies records to allocation and objects.
class Replay {
public:
    Replay(Regions& regions, Objects& objects, bool verify_data, Findings& findings)
        : regions_(regions), objects_(objects), verify_data_(verify_data), findings_(findings) {}

    // False if the commit does not count: nothing was applied.
    bool apply(const Commit& commit, const std::vector<Record>& records, bool proven) {
        context_ = fmt::format("journal commit {}", commit.number);
        for (const Record& record : records) {
            if (const auto* structure = std::get_if<StructureRecord>(&record)) assign(*structure);
        }
        if (!proven || verify_data_) {
            if (!data_verifies(records, proven)) return false;
        }
        for (const Record& record : records) {
            if (const auto* map = std::get_if<MapRecord>(&record)) apply_map(*map);
            if (const auto* reclaim = std::get_if<ReclaimRecord>(&record)) apply_reclaim(*reclaim);
            if (const auto* change = std::get_if<StructureRecord>(&record)) apply_change(*change);
        }
        return true;
    }

private:
    void assign(const StructureRecord& record) {
        for (const StructureItem& item : record.items) {
            if (item.what != StructureItem::What::assign) continue;
            if (const auto fault = regions_.assign(item.number, item.region)) {
                findings_.problem("{}: assigns a region: {}", context_, *fault);
            }
        }
    }

    // False if an unproven commit names data that does not verify.
    bool data_verifies(const std::vector<Record>& records, bool proven) {
        for (const Record& record : records) {
            const auto* map = std::get_if<MapRecord>(&record);
            if (map == nullptr) continue;
            for (size_t i = 0; i < map->fresh.size(); ++i) {
                const Entry& entry = map->fresh[i];
                if (entry.kind() != Kind::data) continue;
                if (regions_.address_fault(entry.address(), kDataClass)) continue;  // said later
                ++findings_.counts().data_verified;
                if (regions_.read(entry, nullptr)) continue;
                if (!proven) return false;
                findings_.problem(
                    "{}: block {} of object {} at address {} cannot be read or "
                    "fails its checksum",
                    context_, map->first_block + i, map->object, entry.address());
            }
        }
        return true;
    }

    void apply_map(const MapRecord& record) {
        const Object* object = objects_.find(record.object);
        const bool may_change =
            object != nullptr && (object->kind == kVolume || (record.below && object->has_tree()));
        if (!may_change) {
            findings_.problem("{}: changes blocks of object {}, which is not a volume", context_,
                              record.object);
        }
        for (size_t i = 0; i < record.fresh.size(); ++i) {
            const Entry& fresh = record.fresh[i];
            const uint64_t block = record.first_block + i;
            if (fresh.kind() == Kind::data && record.shared) {
                if (const auto fault = regions_.share(fresh.address())) {
                    findings_.problem("{}: block {} of object {} shares address {}: {}", context_,
                                      block, record.object, fresh.address(), *fault);
                }
            } else if (fresh.kind() == Kind::data) {
                if (const auto fault = regions_.allocate(fresh.address())) {
                    findings_.problem("{}: block {} of object {} goes to address {}: {}", context_,
                                      block, record.object, fresh.address(), *fault);
                }
            }
            if (!record.freed[i]) continue;
            if (const auto fault = regions_.release(record.old[i].address())) {
                findings_.problem("{}: block {} of object {} frees address {}: {}", context_, block,
                                  record.object, record.old[i].address(), *fault);
            }
        }
    }

    void apply_reclaim(const ReclaimRecord& record) {
        Object* object = objects_.find(record.object);
        if (object == nullptr || !object->has_tree()) {
            findings_.problem("{}: reclaims object {}, which has no tree", context_, record.object);
        } else {
            object->cursor = record.cursor;
        }
        if (record.cursor > kTreeBlocks) {
            findings_.problem("{}: reclaim of object {} is at block {}", context_, record.object,
                              record.cursor);
        }
        for (const ReclaimRecord::Run& run : record.freed) {
            for (uint64_t i = 0; i < run.blocks; ++i) {
                const auto fault = regions_.release(run.address + i);
                if (!fault) continue;
                findings_.problem("{}: reclaim of object {} frees address {}: {}", context_,
                                  record.object, run.address + i, *fault);
                break;  // the rest of a wrong run says nothing more
            }
        }
    }

    void apply_change(const StructureRecord& record) {
        for (const StructureItem& item : record.items) {
            switch (item.what) {
                case StructureItem::What::put: objects_.put(item.object); break;
                case StructureItem::What::copy:
                    for (const uint64_t id : {item.number, item.to}) {
                        const Object* object = objects_.find(id);
                        if (object != nullptr && object->has_tree()) continue;
                        findings_.problem("{}: copies a tree {} object {}, which has none",
                                          context_, id == item.to ? "to" : "from", id);
                    }
                    break;
                case StructureItem::What::remove:
                    if (objects_.find(item.number) == nullptr) {
                        findings_.problem("{}: removes object {}, which does not exist", context_,
                                          item.number);
                    }
                    objects_.remove(item.number);
                    break;
                case StructureItem::What::epoch:
                    if (item.number < epoch_ || item.number >> 48 != 0) {
                        findings_.problem("{}: the epoch becomes {} after {}", context_,
                                          item.number, epoch_);
                    }
                    epoch_ = item.number;
                    break;
                case StructureItem::What::assign: break;  // done before
            }
        }
    }

    Regions& regions_;
    Objects& objects_;
    bool verify_data_;
    Findings& findings_;
    std::string context_;
    uint64_t epoch_ = 0;
};

// Numbers of records go on from `before`; after a cut they may skip.
void check_sequence(const Commit& commit, const std::vector<Record>& records, uint64_t before,
                    bool after_cut, Findings& findings) {
    const EndRecord& end = std::get<EndRecord>(records.back());
    const uint64_t count = records.size() - 1;
    if (end.last_sequence - end.first_sequence + 1 != count) {
        findings.problem("journal commit {}: says records {} to {}, but has {}", commit.number,
                         end.first_sequence, end.last_sequence, count);
    }
    if (after_cut ? end.first_sequence <= before : end.first_sequence != before + 1) {
        findings.problem("journal commit {}: its first record is {}, the last one before was {}",
                         commit.number, end.first_sequence, before);
    }
}

}  // namespace

JournalScan scan_journal(const View& view, Findings& findings) {
    const Superblock& superblock = view.superblock;
    JournalScan scan;
    scan.proven = superblock.commit;
    scan.cut = superblock.journal_start;
    const uint64_t limit = superblock.journal_start + view.geometry.journal_blocks;
    if (limit < superblock.journal_start) {
        findings.problem("superblock: journal_start is {}", superblock.journal_start);
        return scan;
    }
    uint64_t number = superblock.commit;
    while (auto commit = scan_commit(view, ++number, scan.cut, limit, findings)) {
        scan.cut += commit->blocks;
        scan.commits.push_back(*commit);
    }
    RingScan(view, scan, findings).run();
    return scan;
}

std::vector<std::byte> read_commit(const View& view, const Commit& commit) {
    std::vector<std::byte> payload;
    for (uint64_t i = 0; i < commit.blocks; ++i) {
        const auto found = read_position(view, commit.first_block + i, nullptr);
        if (!found) return {};
        const ConstBytes part =
            ConstBytes(found->block).subspan(kJournalHeaderBytes, found->header.payload_bytes);
        payload.insert(payload.end(), part.begin(), part.end());
    }
    return payload;
}

void check_journal(const View& view, Regions& regions, Objects& objects, bool verify_data,
                   Findings& findings) {
    const JournalScan scan = scan_journal(view, findings);
    Replay replay(regions, objects, verify_data, findings);
    uint64_t sequence = view.superblock.sequence;
    uint64_t incarnation =
        incarnation_at(view.superblock, view.superblock.journal_start).value_or(0);
    for (const Commit& commit : scan.commits) {
        const auto records = decode_records(read_commit(view, commit));
        if (!records) {
            findings.problem("journal commit {}: has {}", commit.number, records.error());
            break;
        }
        if (!replay.apply(commit, *records, commit.number <= scan.proven)) {
            findings.note(
                "journal commit {}: not proven and its data does not verify: it does "
                "not count",
                commit.number);
            break;
        }
        check_sequence(commit, *records, sequence, commit.incarnation != incarnation, findings);
        sequence = std::get<EndRecord>(records->back()).last_sequence;
        incarnation = commit.incarnation;
        ++findings.counts().commits;
        findings.counts().records += records->size() - 1;
    }
    Report& report = findings.report();
    report.journal_pending = findings.counts().commits > 0;
    if (report.journal_pending) objects.check(view.superblock, "after the journal: ", findings);
    if (report.journal_pending && report.closed_cleanly) {
        findings.problem("superblock: closed cleanly, but the journal has {} newer commits",
                         findings.counts().commits);
    }
}

}  // namespace stoa::fsck
