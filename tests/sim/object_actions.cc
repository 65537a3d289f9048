// Operations on volumes and snapshots. Each is prepared on a copy of the model, which becomes the
// model when the pool has answered well: these changes are durable when they are answered.
#include <fmt/format.h>

#include <utility>

#include "tests/sim/actions.h"

namespace stoa::simtest {

// Takes over the prepared model if the operation was done.
template <class T>
bool Actions::finish(std::optional<Result<T>> result, const char* what) {
    if (!result || world_.crashed()) return false;  // after_ stays: the crash decides
    if (result->ok()) {
        model_ = std::move(*after_);
        after_.reset();
        if (!uncertain_) model_.collapse();
        return true;
    }
    accept(result->error(), what);
    // Refused for want of space before anything happened; other errors leave it open.
    if (result->error().code() == ErrorCode::no_space) after_.reset();
    return false;
}

std::optional<Uuid> Actions::create_volume(uint64_t size_bytes, bool with_origin) {
    if (ended()) return std::nullopt;
    pool::VolumeSpec spec;
    spec.uuid = next_uuid();
    spec.name = fmt::format("v{}", model_.next_operation());
    spec.size_bytes = size_bytes;
    if (with_origin) spec.origin = next_uuid();
    const uint64_t origin_id = model_.next_operation();
    after_ = model_;
    after_->add_volume(spec.uuid, spec.name, size_bytes);
    if (with_origin) {
        const Origin& origin = world_.add_origin(spec.origin, origin_id, size_bytes);
        Tree& tree = after_->trees().at(spec.uuid);
        tree.has_origin = true;
        for (uint64_t sector = 0; sector < size_bytes / kSectorBytes; ++sector) {
            tree.blocks[sector / kSectorsPerBlock].base[sector % kSectorsPerBlock] =
                origin.tag(sector);
        }
    }
    world_.trace(fmt::format("create {} of {} bytes{}", spec.name, size_bytes,
                             with_origin ? " with origin" : ""));
    const Uuid uuid = spec.uuid;
    if (!finish(world_.run(world_.pool().create_volume(spec), "create_volume", verdict_),
                "create_volume")) {
        return std::nullopt;
    }
    return uuid;
}

std::vector<Uuid> Actions::snapshot(const std::vector<Uuid>& volumes) {
    if (ended()) return {};
    std::vector<pool::SnapshotSpec> specs;
    std::vector<Uuid> made;
    for (const Uuid& volume : volumes) {
        specs.push_back({volume, fmt::format("s{}", model_.next_operation()), next_uuid()});
        made.push_back(specs.back().uuid);
        world_.trace(
            fmt::format("snapshot {}@{}", model_.trees().at(volume).name, specs.back().name));
    }
    after_ = model_;
    for (const pool::SnapshotSpec& spec : specs) {
        after_->add_snapshot(spec.uuid, spec.volume, spec.name);
    }
    if (!finish(world_.run(world_.pool().snapshot(specs), "snapshot", verdict_), "snapshot")) {
        return {};
    }
    return made;
}

io::Task<void> Actions::snapshot_beside(std::vector<Uuid> volumes) {
    std::vector<pool::SnapshotSpec> specs;
    const Instant submitted = model_.tick();
    for (const Uuid& volume : volumes) {
        specs.push_back({volume, fmt::format("s{}", model_.next_operation()), next_uuid()});
        model_.add_open_snapshot(specs.back().uuid, volume, specs.back().name, {submitted, kNever});
        world_.trace(fmt::format("snapshot {}@{} beside writes", model_.trees().at(volume).name,
                                 specs.back().name));
    }
    const auto result = co_await world_.pool().snapshot(specs);
    if (world_.crashed()) co_return;
    if (!result.ok()) {
        accept(result.error(), "snapshot");
        co_return;
    }
    const Instant acknowledged = model_.tick();
    for (const pool::SnapshotSpec& spec : specs) {
        model_.trees().at(spec.uuid).taken.last = acknowledged;
    }
    model_.durable_since(submitted);
}

std::optional<Uuid> Actions::clone(Uuid snapshot, uint64_t size_bytes) {
    if (ended()) return std::nullopt;
    pool::VolumeSpec spec;
    spec.uuid = next_uuid();
    had_clones_ = true;
    spec.name = fmt::format("c{}", model_.next_operation());
    spec.size_bytes = size_bytes;
    after_ = model_;
    after_->add_clone(spec.uuid, snapshot, spec.name, size_bytes);
    world_.trace(fmt::format("clone {} to {}", model_.trees().at(snapshot).name, spec.name));
    const Uuid uuid = spec.uuid;
    if (!finish(world_.run(world_.pool().clone(snapshot, spec), "clone", verdict_), "clone")) {
        return std::nullopt;
    }
    return uuid;
}

void Actions::roll_back(Uuid volume, Uuid snapshot) {
    detach(volume);
    if (ended()) return;
    after_ = model_;
    after_->roll_back(volume, snapshot);
    had_clones_ = true;
    world_.trace(fmt::format("roll {} back to {}", model_.trees().at(volume).name,
                             model_.trees().at(snapshot).name));
    finish(world_.run(world_.pool().rollback(volume, snapshot), "rollback", verdict_), "rollback");
}

void Actions::remove_snapshot(Uuid snapshot) {
    detach(snapshot);
    if (ended()) return;
    after_ = model_;
    after_->remove(snapshot);
    world_.trace(fmt::format("delete snapshot {}", model_.trees().at(snapshot).name));
    finish(world_.run(world_.pool().delete_snapshot(snapshot), "delete_snapshot", verdict_),
           "delete_snapshot");
}

void Actions::remove_volume(Uuid volume) {
    for (const Uuid& snapshot : model_.snapshots_of(volume)) detach(snapshot);
    detach(volume);
    if (ended()) return;
    after_ = model_;
    after_->remove(volume);
    world_.trace(fmt::format("delete volume {}", model_.trees().at(volume).name));
    finish(world_.run(world_.pool().delete_volume(volume), "delete_volume", verdict_),
           "delete_volume");
}

void Actions::remove_beside(Uuid tree) {
    detach(tree);
    for (const Uuid& snapshot : model_.snapshots_of(tree)) detach(snapshot);
    if (ended()) return;
    world_.trace(fmt::format("delete {} beside writes", model_.trees().at(tree).name));
    auto result = model_.trees().at(tree).is_snapshot
                      ? world_.run(world_.pool().delete_snapshot(tree), "delete", verdict_)
                      : world_.run(world_.pool().delete_volume(tree), "delete", verdict_);
    if (result && accept(*result, "delete")) {
        model_.remove(tree);
        return;
    }
    // Done or not: the writes beside it end without an answer, too.
    if (!world_.crashed() && !pool_failed()) return;
    after_ = model_;
    after_->remove(tree);
}

void Actions::resize(Uuid volume, uint64_t size_bytes) {
    const uint64_t before = model_.trees().at(volume).size_bytes;
    if (size_bytes == before) return;
    if (size_bytes < before) detach(volume);
    if (ended()) return;
    after_ = model_;
    after_->trees().at(volume).resize(size_bytes);
    world_.trace(
        fmt::format("resize {} from {} to {}", model_.trees().at(volume).name, before, size_bytes));
    finish(world_.run(world_.pool().resize_volume(volume, size_bytes, true), "resize", verdict_),
           "resize");
}

void Actions::rename(Uuid volume) {
    if (ended()) return;
    const std::string name = fmt::format("n{}", model_.next_operation());
    after_ = model_;
    after_->trees().at(volume).name = name;
    world_.trace(fmt::format("rename {} to {}", model_.trees().at(volume).name, name));
    finish(world_.run(world_.pool().rename_volume(volume, name), "rename", verdict_), "rename");
}

void Actions::protect(Uuid tree, bool on) {
    if (ended()) return;
    after_ = model_;
    after_->trees().at(tree).is_protected = on;
    world_.trace(fmt::format("protect {} {}", model_.trees().at(tree).name, on ? "on" : "off"));
    finish(world_.run(world_.pool().protect(tree, on), "protect", verdict_), "protect");
}

// Content stays as it is; the model only forgets where it came from.
void Actions::flatten(Uuid volume) {
    if (ended()) return;
    world_.trace(fmt::format("flatten {}", model_.trees().at(volume).name));
    // Once begun it goes on by itself, after a crash too: from here on it may have no relatives.
    const Uuid family = std::exchange(model_.trees().at(volume).family, volume);
    auto result = world_.run(world_.pool().flatten(volume), "flatten", verdict_);
    if (!result || world_.crashed()) return;
    if (!result->ok() && result->error().code() == ErrorCode::in_use) {
        model_.trees().at(volume).family = family;  // deleted snapshots are still being reclaimed
    } else if (accept(*result, "flatten")) {
        model_.trees().at(volume).parent = Uuid{};
    }
}

void Actions::hydrate(Uuid volume) {
    if (ended()) return;
    world_.trace(fmt::format("hydrate {}", model_.trees().at(volume).name));
    auto result = world_.run(world_.pool().hydrate(volume), "hydrate", verdict_);
    if (!result || !accept(*result, "hydrate")) return;
    // The origin goes away once nobody asks for it: flattened relatives still may.
    const Uuid family = model_.trees().at(volume).family;
    Uuid origin;
    std::vector<Uuid> asking;
    for (const pool::VolumeInfo& info : world_.pool().volumes()) {
        if (info.uuid == volume) origin = info.origin;
        if (!info.hydrated) asking.push_back(info.uuid);
    }
    bool asked = false;
    for (const pool::VolumeInfo& info : world_.pool().volumes()) {
        asked = asked || (!info.hydrated && info.origin == origin);
    }
    for (const pool::SnapshotInfo& info : world_.pool().snapshots(std::nullopt)) {
        if (!info.hydrated) asking.push_back(info.uuid);
        asked = asked || (!info.hydrated && info.origin == origin);
    }
    if (!asked) world_.lose_origin(origin);
    for (const Uuid& uuid : asking) {
        const Tree* tree = model_.find(uuid);
        if (tree == nullptr || tree->family != family) continue;
        verdict_.fail("origin", tree->name + " still asks for it after hydration");
    }
}

}  // namespace stoa::simtest
