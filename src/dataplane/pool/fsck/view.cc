#include "dataplane/pool/fsck/view.h"

#include <algorithm>
#include <memory>

namespace stoa::fsck {

namespace {

// How far from the start of a device label copy 1 is looked for when no geometry is known.
constexpr uint64_t kLabelSearchBlocks = uint64_t{1} << 18;

bool read_block(Source& source, uint64_t position, Block& into) {
    if (position >= source.size_bytes() / kBlockBytes) return false;
    return source.read(position * kBlockBytes, into);
}

Decoded<Label> read_label(Source& source, uint64_t position, Block& block) {
    if (!read_block(source, position, block)) return std::unexpected("cannot be read");
    auto label = decode_label(block);
    if (label && position != 0 && label->geometry.label(1) != position) {
        return std::unexpected("names another place for itself");
    }
    return label;
}

// Label copy 1 of a device whose copy 0 is lost: where its own geometry puts it.
std::optional<Label> find_second_label(Source& source, const std::optional<Geometry>& known) {
    Block block;
    if (known) {
        if (auto label = read_label(source, known->label(1), block)) return *label;
    }
    const uint64_t end = std::min(source.size_bytes() / kBlockBytes, kLabelSearchBlocks);
    for (uint64_t position = 1; position < end; ++position) {
        if (auto label = read_label(source, position, block)) return *label;
    }
    return std::nullopt;
}

struct Labelled {
    Source* source;
    std::optional<Label> label;
    Reason copy_0_fault;
};

std::vector<Labelled> read_labels(std::span<Source* const> sources, Findings& findings) {
    std::vector<Labelled> all;
    std::optional<Geometry> known;
    Block first;
    Block second;
    for (Source* source : sources) {
        Labelled one{source, std::nullopt, {}};
        if (auto label = read_label(*source, 0, first)) {
            one.label = *label;
            if (!known) known = label->geometry;
            const uint64_t twin_at = label->geometry.label(1);
            const bool ends_before = twin_at >= source->size_bytes() / kBlockBytes;
            const auto twin = read_label(*source, twin_at, second);
            if (ends_before) {
                // Told of the device as a whole.
            } else if (!twin) {
                findings.repairable("device {}: label copy 1 {}", source->name(), twin.error());
            } else if (first != second) {
                findings.repairable("device {}: the two copies of the label differ",
                                    source->name());
            }
        } else {
            one.copy_0_fault = label.error();
        }
        all.push_back(std::move(one));
    }
    for (Labelled& one : all) {
        if (one.label) continue;
        one.label = find_second_label(*one.source, known);
        if (one.label) {
            findings.repairable("device {}: label copy 0 {}", one.source->name(), one.copy_0_fault);
        }
    }
    return all;
}

// Puts the device at its place, or says why it does not belong to the pool.
void place_device(View& view, const Labelled& one, Findings& findings) {
    const std::string& name = one.source->name();
    if (!one.label) {
        findings.problem("device {}: label {}, and no second copy was found", name,
                         one.copy_0_fault);
        return;
    }
    const Label& label = *one.label;
    if (label.pool != view.pool) {
        findings.problem("device {}: belongs to pool {} ({}), not to {}", name,
                         label.pool.to_string(), quoted(label.name), view.pool.to_string());
        return;
    }
    if (label.geometry != view.geometry) {
        findings.problem("device {}: its geometry differs from that of the other devices", name);
        return;
    }
    if (view.devices[label.index]) {
        const Device& other = *view.devices[label.index];
        findings.problem("device {}: is device {} of the pool, as is {}{}", name, label.index,
                         other.source->name(),
                         other.label.device == label.device ? " (one is a copy of the other)" : "");
        return;
    }
    for (const auto& other : view.devices) {
        if (other && other->label.device == label.device) {
            findings.problem("device {}: has the uuid {} of {}", name, label.device.to_string(),
                             other->source->name());
            return;
        }
        if (other && other->label.name != label.name) {
            findings.problem("device {}: names the pool {}, {} names it {}", name,
                             quoted(label.name), other->source->name(), quoted(other->label.name));
        }
    }
    if (label.incompat != 0) {
        findings.problem("device {}: needs features 0x{:x} that version 1 does not have", name,
                         label.incompat);
    }
    if ((label.read_only_compat | label.compat) != 0) {
        findings.note("device {}: has features beyond version 1 (0x{:x}, read-only 0x{:x})", name,
                      label.compat, label.read_only_compat);
    }
    if (label.data_start > one.source->size_bytes() / kBlockBytes) {
        const uint64_t needed_bytes = label.data_start * kBlockBytes;
        findings.problem(
            "device {}: is {} bytes shorter than its label says: it has {} bytes, the pool's own "
            "area takes {}; grow it back to at least the size it had, or restore it from a backup",
            name, needed_bytes - one.source->size_bytes(), one.source->size_bytes(), needed_bytes);
        view.too_short[label.index] = true;
        return;
    }
    view.devices[label.index] = {one.source, one.source->size_bytes() / kBlockBytes, label};
}

// Reads the four superblock places of one device into view.superblocks.
void read_superblocks(View& view, size_t index, Findings& findings) {
    const Device& device = *view.devices[index];
    Block block;
    for (int copy = 0; copy < 2; ++copy) {
        for (uint64_t slot = 0; slot < 2; ++slot) {
            if (!read_block(*device.source, view.geometry.superblock(copy, slot), block)) continue;
            auto decoded = decode_superblock(block, view.pool, view.geometry);
            if (!decoded) continue;
            if (decoded->generation % 2 != slot) {
                findings.problem("device {}: superblock slot {} copy {} holds generation {}",
                                 device.source->name(), slot, copy, decoded->generation);
                continue;
            }
            view.superblocks.push_back({*decoded, block, index});
        }
    }
}

bool descends_from(const Superblock& superblock, uint64_t branch) {
    return superblock.branch == branch || std::ranges::find(superblock.branches_before, branch) !=
                                              superblock.branches_before.end();
}

size_t branches_behind(const Superblock& newest, const Superblock& superblock) {
    if (superblock.branch == newest.branch) return 0;
    const auto& before = newest.branches_before;
    return 1 + static_cast<size_t>(std::ranges::find(before, superblock.branch) - before.begin());
}

// The newest superblock of device `index` in the history of `head`; nullptr if it has none.
const Superblock* newest_on(const View& view, size_t index, const Superblock& head) {
    const Superblock* newest = nullptr;
    for (const SuperblockFound& found : view.superblocks) {
        const Superblock& s = found.superblock;
        if (found.device != index || !descends_from(head, s.branch)) continue;
        if (newest == nullptr || descends_from(s, newest->branch)) {
            const bool same = newest != nullptr && s.branch == newest->branch;
            if (!same || s.generation > newest->generation) newest = &s;
        }
    }
    return newest;
}

// Marks the devices whose superblocks and journal do not count: the pool was used without them, or
// they lack more than crashes take from a device.
void mark_old_devices(View& view, const Superblock& head, Findings& findings) {
    for (size_t i = 0; i < kDevicesMax; ++i) {
        if (!view.devices[i]) continue;
        view.devices[i]->is_old = head.devices[i].state == 2;
        if (view.devices[i]->is_old) continue;
        const Superblock* own = newest_on(view, i, head);
        if (own == nullptr || own->generation >= head.generation) continue;
        const uint64_t openings = head.incarnation - std::min(head.incarnation, own->incarnation);
        if (head.generation - own->generation <= 1 + openings) continue;
        view.devices[i]->is_old = true;
        findings.problem(
            "device {}: is an older copy of device {} of the pool: it has generation {}, the pool "
            "{}; give the device as it is now, or leave it out: once the pool was opened without "
            "it, it is taken back and brought up to date",
            view.device_name(i), i, own->generation, head.generation);
    }
}

// Sorts the superblocks, the newest first and each once, without those of devices that are old.
void sort_superblocks(View& view, Findings& findings) {
    if (view.superblocks.empty()) return;
    const SuperblockFound* newest = &view.superblocks.front();
    for (const SuperblockFound& other : view.superblocks) {
        const Superblock& a = newest->superblock;
        const Superblock& b = other.superblock;
        if (!descends_from(a, b.branch) && !descends_from(b, a.branch)) {
            findings.problem("devices {} and {}: each was written without the other",
                             view.device_name(newest->device), view.device_name(other.device));
            continue;
        }
        if (a.branch == b.branch ? b.generation > a.generation : descends_from(b, a.branch)) {
            newest = &other;
        }
    }
    const Superblock head = newest->superblock;
    mark_old_devices(view, head, findings);
    std::erase_if(view.superblocks, [&](const SuperblockFound& found) {
        return view.devices[found.device]->is_old || !descends_from(head, found.superblock.branch);
    });
    std::ranges::sort(view.superblocks, [&head](const auto& a, const auto& b) {
        const size_t a_behind = branches_behind(head, a.superblock);
        const size_t b_behind = branches_behind(head, b.superblock);
        if (a_behind != b_behind) return a_behind < b_behind;
        if (a.superblock.generation != b.superblock.generation) {
            return a.superblock.generation > b.superblock.generation;
        }
        return a.device < b.device;
    });
    for (size_t i = 1; i < view.superblocks.size();) {
        const SuperblockFound& before = view.superblocks[i - 1];
        const SuperblockFound& found = view.superblocks[i];
        if (before.superblock.branch != found.superblock.branch ||
            before.superblock.generation != found.superblock.generation) {
            ++i;
            continue;
        }
        if (before.block != found.block) {
            findings.problem("device {}: a superblock differs from another one of generation {}",
                             view.device_name(found.device), found.superblock.generation);
        }
        view.superblocks.erase(view.superblocks.begin() + static_cast<ptrdiff_t>(i));
    }
}

}  // namespace

bool View::read(uint64_t device, uint64_t position, Block& into) const {
    if (device >= kDevicesMax || !devices[device]) return false;
    return read_block(*devices[device]->source, position, into);
}

std::string View::device_name(uint64_t index) const {
    if (index < kDevicesMax && devices[index]) return devices[index]->source->name();
    return fmt::format("{} (not given)", index);
}

std::optional<uint64_t> View::position(const RegionEntry::Place& place, uint64_t offset) const {
    if (place.device >= kDevicesMax || !devices[place.device]) return std::nullopt;
    const uint64_t start = devices[place.device]->label.data_start;
    return start + uint64_t{place.physical} * geometry.region_blocks + offset;
}

std::optional<View> load_view(std::span<Source* const> sources, Findings& findings) {
    const std::vector<Labelled> all = read_labels(sources, findings);
    const auto first =
        std::ranges::find_if(all, [](const auto& one) { return one.label.has_value(); });
    if (first == all.end()) {
        for (const Labelled& one : all) {
            findings.problem("device {}: not of a pool: label {}", one.source->name(),
                             one.copy_0_fault);
        }
        return std::nullopt;
    }
    View view;
    view.pool = first->label->pool;
    view.name = first->label->name;
    view.geometry = first->label->geometry;
    for (const Labelled& one : all) place_device(view, one, findings);
    for (size_t i = 0; i < kDevicesMax; ++i) {
        if (view.devices[i]) read_superblocks(view, i, findings);
    }
    sort_superblocks(view, findings);
    return view;
}

}  // namespace stoa::fsck
