#include "dataplane/io/sim/write_once_oracle.h"

namespace stoa::io::sim {

bool WriteOnceOracle::has_superblock(const DiskEvent& event) const {
    const Write& write = *event.write;
    const uint64_t first = write.offset_bytes / kPageBytes;
    for (uint64_t i = 0; i < write.pages.size(); ++i) {
        if (classify_(event.disk, (first + i) * kPageBytes) == Place::superblock) return true;
    }
    return false;
}

void WriteOnceOracle::observe(const DiskEvent& event) {
    switch (event.kind) {
        case DiskEventKind::write_submitted:
            note_write(event);
            if (has_superblock(event)) ++superblocks_in_flight_;
            break;
        case DiskEventKind::write_completed:
            // One submitted before the reset ends here too.
            if (!has_superblock(event) || superblocks_in_flight_ == 0) break;
            --superblocks_in_flight_;
            if (event.error == 0) pending_.push_back({&event.disk, event.completed});
            break;
        case DiskEventKind::flush_completed: {
            if (event.error != 0) break;
            const size_t durable = std::erase_if(pending_, [&](const Pending& pending) {
                return pending.disk == &event.disk && pending.number <= event.completed;
            });
            if (durable > 0 && pending_.empty() && superblocks_in_flight_ == 0) begin_period();
            break;
        }
        case DiskEventKind::flush_submitted:
        case DiskEventKind::discard_completed: break;
    }
}

void WriteOnceOracle::note_write(const DiskEvent& event) {
    const Write& write = *event.write;
    const uint64_t first = write.offset_bytes / kPageBytes;
    for (size_t i = 0; i < write.pages.size(); ++i) {
        const uint64_t page = first + i;
        if (classify_(event.disk, page * kPageBytes) != Place::once) continue;
        const uint64_t hash = write.pages[i]->hash();
        const auto [place, added] = written_.try_emplace({&event.disk, page}, hash);
        if (added || place->second == hash || violation_) continue;
        violation_ = "device " + event.disk.name() + ": block " + std::to_string(page) +
                     " is written twice before the next superblock is durable (event " +
                     std::to_string(event.number) + ", period " + std::to_string(periods_) + ")";
    }
}

void WriteOnceOracle::begin_period() {
    written_.clear();
    ++periods_;
}

void WriteOnceOracle::reset() {
    written_.clear();
    pending_.clear();
    superblocks_in_flight_ = 0;
    ++periods_;
}

}  // namespace stoa::io::sim
