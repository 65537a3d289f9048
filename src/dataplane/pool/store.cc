// Storing data blocks: admission, allocation and the device writes of redirect on write.
#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include "dataplane/pool/volume_handle.h"

namespace stoa::pool {

namespace {

constexpr int kWriteAttempts = 8;

// Could the pool take this write, and the nodes it will make necessary?
bool has_space(const Core& core, size_t blocks) {
    const uint64_t nodes = 2 * core.cache.dirty_count() + 8;
    return !core.devices.host_full() && core.regions.data_available() >= blocks &&
           core.regions.nodes_available(nodes / 2) &&
           core.regions.metadata_headroom() >= nodes + core.regions.reserve_blocks() / 4;
}

// Waiting for a checkpoint does not help, and the caller does not want to wait for anything else.
bool refuses(const Core& core, WhenFull when_full) {
    return when_full == WhenFull::fail &&
           (core.devices.host_full() || core.regions.quarantine() == 0);
}

Error full(const Core& core, const Object& object) {
    if (core.devices.host_full()) {
        return {ErrorCode::no_space,
                fmt::format("{} gets no space: the file system below pool {} is full",
                            object.record.name, core.label.name)};
    }
    return {ErrorCode::no_space,
            fmt::format("{} gets no space: pool {} is full ({} data blocks can still be taken); "
                        "delete something or add a device",
                        object.record.name, core.label.name, core.regions.data_available())};
}

Error dropped(const Core& core, const Object& object) {
    return {ErrorCode::cancelled,
            fmt::format("a write to {} waited for space in pool {} and is dropped",
                        object.record.name, core.label.name)};
}

// `give_up`: ends the waiting for a full host; null: there is none.
io::Task<void> write_run(Core& core, Run run, ConstBytes from, const bool* give_up, int& error) {
    const Location at = core.regions.locate(run.address, 0);
    error = give_up != nullptr ? co_await core.devices.write(at.device, at.block, from, give_up)
                               : co_await core.devices.write_once(at.device, at.block, from);
}

// Why nothing is stored, although no place is bad.
Error not_stored(const Core& core, const Object& object, BlockAddress address, int error,
                 WhenFull when_full) {
    const PoolDevice& device = core.devices.list[core.regions.locate(address, 0).device];
    const std::string name = device.device != nullptr ? device.device->name() : "missing";
    if (error != ENOSPC) {
        return {ErrorCode::io,
                fmt::format("{} cannot be written: device {} is gone", object.record.name, name),
                error};
    }
    if (when_full == WhenFull::hold) return dropped(core, object);
    return {ErrorCode::no_space,
            fmt::format("{} gets no space: the file system below device {} of pool {} is full",
                        object.record.name, name, core.label.name),
            error};
}

void cancel(Core& core, MapChange& change) {
    for (size_t i = 0; i < change.count; ++i) {
        if (change.address[i] != 0) core.regions.cancel_allocated({change.address[i], 1});
        change.address[i] = 0;
    }
}

// One contiguous run for the blocks from `at` on; waits while there is no space.
io::Task<Result<Run>> allocate_run(Core& core, Object& object, uint64_t want, const bool& give_up,
                                   WhenFull when_full) {
    for (;;) {
        Run run = core.regions.try_allocate(object.stream, want);
        if (run.count > 0) co_return run;
        Result<void> refilled = co_await core.regions.refill(RegionClass::data);
        if (refilled.ok()) continue;
        if (refilled.error().code() != ErrorCode::no_space) co_return refilled.take_error();
        // Reservations of others are taken before a write is held.
        for (const auto& [id, other] : core.objects.all()) core.regions.give_back(other->stream);
        if (!core.writable()) co_return core.read_only_error();
        if (give_up || core.closing) {
            co_return dropped(core, object);
        }
        if (refuses(core, when_full)) co_return full(core, object);
        ++core.counters.held_writes;
        // Without anything in quarantine a checkpoint gives nothing back.
        if (core.regions.quarantine() > 0) core.want_checkpoint();
        co_await core.wait_held();
    }
}

}  // namespace

io::Task<Result<void>> hold_while_full(Core& core, const Object& object, size_t blocks,
                                       const bool& give_up, WhenFull when_full) {
    for (bool held = false; !has_space(core, blocks);) {
        if (!core.writable()) co_return core.read_only_error();
        if (give_up || core.closing) {
            co_return dropped(core, object);
        }
        if (refuses(core, when_full)) co_return full(core, object);
        if (!held) ++core.counters.held_writes;
        held = true;
        if (core.regions.quarantine() > 0) core.want_checkpoint();
        co_await core.wait_held();
    }
    co_return Result<void>{};
}

io::Task<Result<void>> store_blocks(Core& core, Object& object, MapChange& change,
                                    const bool& give_up, WhenFull when_full) {
    if (!is_zero({change.content, change.count * kBlockBytes})) {
        CO_TRY(co_await hold_while_full(core, object, change.count, give_up, when_full));
    }
    const bool* waits = when_full == WhenFull::hold ? &give_up : nullptr;
    struct Piece {
        Run run;
        size_t at;
        int error;
    };
    std::array<Piece, 4> few;
    std::vector<Piece> many;
    size_t pieces = 0;
    change.address.fill(0);
    for (size_t i = 0; i < change.count;) {
        const ConstBytes block{change.content + i * kBlockBytes, kBlockBytes};
        if (is_zero(block)) {
            ++i;
            continue;
        }
        size_t end = i + 1;
        while (end < change.count && !is_zero({change.content + end * kBlockBytes, kBlockBytes})) {
            ++end;
        }
        while (i < end) {
            Result<Run> run = co_await allocate_run(core, object, end - i, give_up, when_full);
            if (!run.ok()) {
                cancel(core, change);
                co_return run.take_error();
            }
            for (size_t n = 0; n < run->count; ++n) change.address[i + n] = run->address + n;
            if (pieces < few.size()) few[pieces] = {*run, i, 0};
            else many.push_back({*run, i, 0});
            ++pieces;
            i += run->count;
        }
    }
    if (pieces == 1) {
        co_await write_run(
            core, few[0].run,
            {change.content + few[0].at * kBlockBytes, few[0].run.count * kBlockBytes}, waits,
            few[0].error);
    } else if (pieces > 1) {
        io::TaskGroup group(core.executor);
        for (size_t p = 0; p < pieces; ++p) {
            Piece& piece = p < few.size() ? few[p] : many[p - few.size()];
            group.spawn(
                write_run(core, piece.run,
                          {change.content + piece.at * kBlockBytes, piece.run.count * kBlockBytes},
                          waits, piece.error));
        }
        co_await group.join();
    }
    for (size_t p = 0; p < pieces; ++p) {
        const Piece piece = p < few.size() ? few[p] : many[p - few.size()];
        if (piece.error == 0) continue;
        // Find the bad block: one by one, each elsewhere.
        for (size_t i = piece.at; i < piece.at + piece.run.count; ++i) {
            int error = piece.error;
            for (int attempt = 1; error != 0; ++attempt) {
                if (!is_bad_place(error)) {
                    Error why = not_stored(core, object, change.address[i], error, when_full);
                    cancel(core, change);
                    co_return why;
                }
                if (piece.run.count == 1 || attempt > 1) core.regions.set_bad(change.address[i]);
                else core.regions.cancel_allocated({change.address[i], 1});
                change.address[i] = 0;
                if (attempt == kWriteAttempts) {
                    cancel(core, change);
                    co_return Error(ErrorCode::io,
                                    fmt::format("{} block {} cannot be written at {} places of "
                                                "pool {}",
                                                object.record.name, change.first + i,
                                                kWriteAttempts, core.label.name),
                                    error);
                }
                Result<Run> run = co_await allocate_run(core, object, 1, give_up, when_full);
                if (!run.ok()) {
                    cancel(core, change);
                    co_return run.take_error();
                }
                change.address[i] = run->address;
                co_await write_run(core, *run, {change.content + i * kBlockBytes, kBlockBytes},
                                   waits, error);
            }
        }
    }
    co_return Result<void>{};
}

}  // namespace stoa::pool
