// Operations on content, use of volumes, and life after a crash. Objects: object_actions.cc;
// checks: checks.cc.
#include "tests/sim/actions.h"

#include <fmt/format.h>

namespace stoa::simtest {

bool Actions::tolerated(const Error& error) {
    switch (error.code()) {
        case ErrorCode::io: return tolerance.device_errors || tolerance.damage;
        case ErrorCode::corrupt: return tolerance.damage;
        case ErrorCode::read_only: return tolerance.device_errors && pool_failed();
        case ErrorCode::no_space: return tolerance.no_space;
        case ErrorCode::cancelled: return true;  // a handle was closed under it
        default: return false;
    }
}

bool Actions::accept(const Result<void>& result, const char* what) {
    if (world_.crashed()) return false;  // nobody heard the answer
    if (result.ok()) return true;
    if (result.error().code() == ErrorCode::busy) {
        // Refused while a flatten or shrink runs, which a crash may have left to the background.
        world_.trace(fmt::format("{}: {}", what, result.error().message()));
        return false;
    }
    if (tolerated(result.error())) {
        uncertain_ = true;
        world_.trace(fmt::format("{}: {}", what, result.error().message()));
    } else {
        verdict_.fail("operation", fmt::format("{}: {}", what, result.error().message()));
    }
    return false;
}

bool Actions::pool_failed() const { return world_.has_pool() && world_.pool().info().read_only; }

Uuid Actions::next_uuid() {
    Uuid uuid;
    store_le(uuid.bytes.data(), uint64_t{0x5107A});
    store_le(uuid.bytes.data() + 8, model_.next_operation());
    return uuid;
}

// ---- content

io::Task<void> Actions::write(Uuid volume, uint64_t sector, uint64_t count, bool fua, bool zero,
                              block::Volume* through) {
    block::Volume* to = through != nullptr ? through : handle(volume);
    CHECK(to != nullptr);
    const uint64_t operation = model_.next_operation();
    world_.trace(fmt::format("#{} write {} sectors [{}, {}){}{}", operation,
                             model_.trees().at(volume).name, sector, sector + count,
                             fua ? " fua" : "", zero ? " zero" : ""));
    AlignedBuffer buffer(count * kSectorBytes);
    for (uint64_t i = 0; i < count; ++i) {
        fill_sector(zero ? kZeroTag : make_tag(operation, sector + i),
                    buffer.data() + i * kSectorBytes);
    }
    model_.begin(volume, operation, sector, count, zero);
    const Instant submitted = model_.now();
    const Result<void> result =
        co_await to->write(sector * kSectorBytes, buffer.bytes().first(count * kSectorBytes),
                           {.force_unit_access = fua});
    if (!accept(result, "write")) co_return;
    model_.acknowledge(volume, operation);
    if (fua) model_.durable_since(submitted);
}

io::Task<void> Actions::write_zeroes(Uuid volume, uint64_t sector, uint64_t count) {
    block::Volume* to = handle(volume);
    CHECK(to != nullptr);
    const uint64_t operation = model_.next_operation();
    world_.trace(fmt::format("#{} write zeroes {} sectors [{}, {})", operation,
                             model_.trees().at(volume).name, sector, sector + count));
    model_.begin(volume, operation, sector, count, true);
    const Result<void> result =
        co_await to->write_zeroes(sector * kSectorBytes, count * kSectorBytes, {});
    if (accept(result, "write_zeroes")) model_.acknowledge(volume, operation);
}

io::Task<void> Actions::discard(Uuid volume, uint64_t sector, uint64_t count) {
    block::Volume* to = handle(volume);
    CHECK(to != nullptr);
    // Only whole blocks change; a last block that is cut off by the volume's end is left alone.
    const uint64_t first = (sector + kSectorsPerBlock - 1) / kSectorsPerBlock;
    const uint64_t end = (sector + count) / kSectorsPerBlock;
    const uint64_t size = model_.trees().at(volume).size_bytes;
    if (size % kBlockBytes != 0 && (sector + count) * kSectorBytes == size) --count;
    if (count == 0) co_return;
    const uint64_t operation = model_.next_operation();
    world_.trace(fmt::format("#{} discard {} sectors [{}, {})", operation,
                             model_.trees().at(volume).name, sector, sector + count));
    if (end > first) {
        model_.begin(volume, operation, first * kSectorsPerBlock, (end - first) * kSectorsPerBlock,
                     true);
    }
    const Result<void> result = co_await to->discard(sector * kSectorBytes, count * kSectorBytes);
    if (accept(result, "discard")) model_.acknowledge(volume, operation);
}

io::Task<void> Actions::flush(Uuid volume, bool alone) {
    block::Volume* to = handle(volume);
    CHECK(to != nullptr);
    const Instant submitted = model_.tick();
    world_.trace("flush");
    const Result<void> result = co_await to->flush();
    if (!accept(result, "flush")) co_return;
    if (alone && !uncertain_) model_.collapse();
    else model_.durable_since(submitted);
}

io::Task<void> Actions::read(Uuid tree, uint64_t sector, uint64_t count) {
    block::Volume* from = handle(tree);
    CHECK(from != nullptr);
    AlignedBuffer buffer(count * kSectorBytes);
    const Instant submitted = model_.tick();
    const Result<void> result =
        co_await from->read(sector * kSectorBytes, buffer.bytes().first(count * kSectorBytes));
    if (world_.crashed()) co_return;
    if (!result.ok()) {
        if (!tolerated(result.error())) {
            verdict_.fail("operation", "read: " + result.error().message());
        }
        co_return;
    }
    std::vector<Tag> tags(count);
    for (uint64_t i = 0; i < count; ++i) tags[i] = read_tag(buffer.data() + i * kSectorBytes);
    model_.check_read(tree, sector, tags, {submitted, model_.now()}, verdict_);
}

namespace {

io::Task<int> complete(io::Task<void> task) {
    co_await std::move(task);
    co_return 0;
}

}  // namespace

void Actions::run_write(Uuid volume, uint64_t sector, uint64_t count, bool fua, bool zero) {
    if (ended() || !attach(volume)) return;
    model_.next_rank();
    const auto done =
        world_.run(complete(write(volume, sector, count, fua, zero)), "a write", verdict_);
    if (done && fua && !ended() && !uncertain_) model_.collapse();
}

void Actions::run_write_zeroes(Uuid volume, uint64_t sector, uint64_t count) {
    if (ended() || !attach(volume)) return;
    model_.next_rank();
    world_.run(complete(write_zeroes(volume, sector, count)), "write_zeroes", verdict_);
}

void Actions::run_discard(Uuid volume, uint64_t sector, uint64_t count) {
    if (ended() || !attach(volume)) return;
    model_.next_rank();
    world_.run(complete(discard(volume, sector, count)), "a discard", verdict_);
}

void Actions::run_flush(Uuid volume) {
    if (ended() || !attach(volume)) return;
    world_.run(complete(flush(volume, true)), "a flush", verdict_);
}

void Actions::run_read(Uuid tree, uint64_t sector, uint64_t count) {
    if (ended() || !attach(tree)) return;
    world_.run(complete(read(tree, sector, count)), "a read", verdict_);
}

// ---- use

block::Volume* Actions::handle(Uuid tree) const {
    const auto at = handles_.find(tree);
    return at == handles_.end() ? nullptr : at->second;
}

bool Actions::attach(Uuid tree) {
    if (ended()) return false;
    if (handles_.contains(tree)) return true;
    const bool read_only = model_.trees().at(tree).is_snapshot;
    auto result = world_.run(world_.pool().attach(tree, read_only), "attach", verdict_);
    if (!result || world_.crashed()) return false;
    if (!result->ok()) {
        if (!tolerated(result->error())) {
            verdict_.fail("operation", "attach: " + result->error().message());
        }
        return false;
    }
    handles_[tree] = **result;
    return true;
}

void Actions::detach(Uuid tree) {
    const auto at = handles_.find(tree);
    if (at == handles_.end() || verdict_.failed()) return;
    block::Volume* const closing = at->second;
    handles_.erase(at);
    world_.run(complete(world_.pool().detach(closing)), "detach", verdict_);
}

void Actions::detach_all() {
    while (!handles_.empty() && !verdict_.failed()) detach(handles_.begin()->first);
}

void Actions::settle() {
    if (ended()) return;
    auto result = world_.run(world_.pool().settle(), "settle", verdict_);
    if (result) accept(*result, "settle");
}

void Actions::checkpoint() {
    if (ended()) return;
    world_.trace("checkpoint");
    auto result = world_.run(world_.pool().checkpoint(), "checkpoint", verdict_);
    if (result && accept(*result, "checkpoint") && !uncertain_) model_.collapse();
}

void Actions::scrub() {
    if (ended()) return;
    auto result = world_.run(world_.pool().scrub({}), "scrub", verdict_);
    if (!result || world_.crashed()) return;
    if (!result->ok()) {
        accept(result->error(), "scrub");
    } else if ((**result).blocks_damaged != 0 && !tolerance.damage && !tolerance.device_errors) {
        verdict_.fail("operation",
                      fmt::format("scrub: {} blocks are damaged", (**result).blocks_damaged));
    }
}

io::Task<void> Actions::checkpoint_beside() {
    const Result<void> result = co_await world_.pool().checkpoint();
    if (!world_.crashed()) static_cast<void>(accept(result, "checkpoint"));
}

// ---- crashes

bool Actions::recover(bool host_died) {
    forget_handles();
    if (!world_.open(verdict_)) return false;
    auto seen = world_.observe(tolerance.damage || tolerance.device_errors, verdict_);
    if (!seen || verdict_.failed() || world_.crashed()) return false;
    const Instant now = model_.now();
    const Window window{host_died ? model_.durable() : now, now};
    // Of an operation on objects that was under way, all or nothing.
    if (after_) {
        Verdict done;
        Model candidate = *after_;
        const Window all{candidate.now(), candidate.now()};
        if (candidate.check(*seen, all, true, true, "model-cut", done)) {
            model_ = std::move(candidate);
            after_.reset();
            uncertain_ = false;
            return true;
        }
    }
    const bool good = model_.check(*seen, window, true, true, "model-cut", verdict_);
    after_.reset();
    uncertain_ = false;
    return good;
}

}  // namespace stoa::simtest
