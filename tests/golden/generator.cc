#include "tests/golden/generator.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <utility>

#include "base/check.h"
#include "base/crc32c.h"
#include "dataplane/io/memory_device.h"
#include "dataplane/io/sim/simulator.h"
#include "dataplane/pool/pool.h"

namespace stoa::golden {

namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
using Block = std::array<std::byte, kBlockBytes>;

// A block that is not zero, and packs well.
void fill(std::byte* into, uint64_t version) {
    for (size_t at = 0; at < kBlockBytes; at += 512) {
        const std::string text = fmt::format("golden write {}, part {}", version, at / 512);
        std::memcpy(into + at, text.data(), text.size());
    }
}

// A pool on memory devices, and beside it what it has to hold.
class Builder {
public:
    Builder(const std::string& name, size_t devices, uint64_t device_bytes,
            uint64_t journal_blocks);

    Uuid volume(const std::string& name, uint64_t size_bytes, const std::string& tags = "");
    Uuid snapshot(Uuid volume, const std::string& name);
    Uuid clone(Uuid snapshot, const std::string& name);
    void roll_back(Uuid volume, Uuid snapshot);
    void remove_volume(Uuid volume);
    void remove_snapshot(Uuid snapshot);
    void protect(Uuid tree);
    // `blocks` blocks, each with content of its own.
    void write(Uuid volume, uint64_t block, uint64_t blocks = 1);
    void write_sectors(Uuid volume, uint64_t sector, uint64_t sectors);
    void discard(Uuid volume, uint64_t block, uint64_t blocks);
    void flush(Uuid volume);
    // Damages the block on the device and reads it.
    void damage(Uuid volume, uint64_t block);
    void settle() { check(simulator_.run(pool_->settle())); }
    void checkpoint() { check(simulator_.run(pool_->checkpoint())); }
    void close();
    // The devices as they are now; the pool goes on.
    GoldenPool take(const std::string& name, bool closed);

private:
    struct Expected {
        Tree tree;
        std::map<uint64_t, Block> blocks;
    };
    static void check(const Result<void>& result) {
        if (!result.ok()) fmt::print(stderr, "{}\n", result.error().message());
        CHECK(result.ok());
    }
    template <class T>
    static T check(Result<T> result) {
        if (!result.ok()) fmt::print(stderr, "{}\n", result.error().message());
        CHECK(result.ok());
        return *std::move(result);
    }
    Uuid next_uuid() { return Uuid::from_random(0x601D, ++uuids_); }
    std::vector<io::Device*> pointers();
    void open();
    void write_bytes(Uuid volume, uint64_t offset, ConstBytes bytes);
    Expected& expected(Uuid uuid) { return trees_.at(uuid); }

    io::sim::Simulator simulator_{601};
    std::vector<std::unique_ptr<io::MemoryDevice>> devices_;
    std::unique_ptr<pool::Pool> pool_;
    std::string name_;
    Uuid pool_uuid_;
    uint64_t uuids_ = 0;
    uint64_t version_ = 0;
    std::map<Uuid, Expected> trees_;
};

Builder::Builder(const std::string& name, size_t devices, uint64_t device_bytes,
                 uint64_t journal_blocks)
    : name_(name) {
    for (size_t d = 0; d < devices; ++d) {
        io::MemoryDeviceOptions options;
        options.size_bytes = device_bytes;
        devices_.push_back(
            check(io::MemoryDevice::create(simulator_, fmt::format("memory{}", d), options)));
    }
    pool::CreateOptions options;
    options.name = name;
    options.uuid = pool_uuid_ = next_uuid();
    options.region_blocks = 64;
    options.journal_blocks = journal_blocks;
    check(simulator_.run(pool::Pool::create(simulator_, pointers(), options)));
    open();
}

std::vector<io::Device*> Builder::pointers() {
    std::vector<io::Device*> pointers;
    for (const auto& device : devices_) pointers.push_back(device.get());
    return pointers;
}

void Builder::open() {
    pool::OpenOptions options;
    options.cache_bytes = kMiB;
    options.knobs.idle_checkpoint_ns = uint64_t{1} << 60;  // only when asked for
    pool_ = check(simulator_.run(pool::Pool::open(simulator_, pointers(), std::move(options))));
}

void Builder::close() {
    check(simulator_.run(pool_->close()));
    pool_.reset();
}

Uuid Builder::volume(const std::string& name, uint64_t size_bytes, const std::string& tags) {
    pool::VolumeSpec spec;
    spec.name = name;
    spec.uuid = next_uuid();
    spec.size_bytes = size_bytes;
    for (const char c : tags) spec.tags.push_back(static_cast<std::byte>(c));
    Expected& made = trees_[spec.uuid];
    made.tree.uuid = spec.uuid;
    made.tree.name = name;
    made.tree.size_bytes = size_bytes;
    made.tree.tags = spec.tags;
    return check(simulator_.run(pool_->create_volume(std::move(spec))));
}

Uuid Builder::snapshot(Uuid volume, const std::string& name) {
    const Uuid uuid = next_uuid();
    check(simulator_.run(pool_->snapshot({{.volume = volume, .name = name, .uuid = uuid}})));
    Expected made = expected(volume);
    made.tree.is_volume = false;
    made.tree.is_protected = false;
    made.tree.uuid = uuid;
    made.tree.name = name;
    made.tree.volume = volume;
    made.tree.tags.clear();
    trees_[uuid] = std::move(made);
    expected(volume).tree.parent = uuid;
    return uuid;
}

Uuid Builder::clone(Uuid snapshot, const std::string& name) {
    pool::VolumeSpec spec;
    spec.name = name;
    spec.uuid = next_uuid();
    const Uuid uuid = spec.uuid;
    check(simulator_.run(pool_->clone(snapshot, std::move(spec))));
    Expected made = expected(snapshot);
    made.tree.is_volume = true;
    made.tree.is_protected = false;
    made.tree.uuid = uuid;
    made.tree.name = name;
    made.tree.parent = snapshot;
    made.tree.volume = {};
    trees_[uuid] = std::move(made);
    return uuid;
}

void Builder::roll_back(Uuid volume, Uuid snapshot) {
    check(simulator_.run(pool_->rollback(volume, snapshot)));
    expected(volume).blocks = expected(snapshot).blocks;
    expected(volume).tree.parent = snapshot;
}

void Builder::remove_volume(Uuid volume) {
    check(simulator_.run(pool_->delete_volume(volume)));
    std::erase_if(
        trees_, [&](const auto& t) { return t.first == volume || t.second.tree.volume == volume; });
}

void Builder::remove_snapshot(Uuid snapshot) {
    check(simulator_.run(pool_->delete_snapshot(snapshot)));
    const Uuid parent = expected(snapshot).tree.parent;
    trees_.erase(snapshot);
    for (auto& [uuid, other] : trees_) {
        if (other.tree.parent == snapshot) other.tree.parent = parent;
    }
}

void Builder::protect(Uuid tree) {
    check(simulator_.run(pool_->protect(tree, true)));
    expected(tree).tree.is_protected = true;
}

void Builder::write_bytes(Uuid volume, uint64_t offset, ConstBytes bytes) {
    block::Volume* handle = check(simulator_.run(pool_->attach(volume, false)));
    check(simulator_.run(handle->write(offset, bytes, {})));
    simulator_.run(pool_->detach(handle));
    for (uint64_t at = 0; at < bytes.size(); at += 512) {
        Block& block = expected(volume).blocks[(offset + at) / kBlockBytes];
        std::memcpy(block.data() + (offset + at) % kBlockBytes, bytes.data() + at, 512);
    }
}

void Builder::write(Uuid volume, uint64_t block, uint64_t blocks) {
    std::vector<std::byte> bytes(blocks * kBlockBytes);
    for (uint64_t b = 0; b < blocks; ++b) fill(bytes.data() + b * kBlockBytes, ++version_);
    const uint64_t offset = block * kBlockBytes;
    const uint64_t end = expected(volume).tree.size_bytes;
    bytes.resize(std::min<uint64_t>(bytes.size(), end - offset));
    write_bytes(volume, offset, bytes);
}

void Builder::write_sectors(Uuid volume, uint64_t sector, uint64_t sectors) {
    std::vector<std::byte> bytes(kBlockBytes);
    fill(bytes.data(), ++version_);
    bytes.resize(sectors * 512);
    write_bytes(volume, sector * 512, bytes);
}

void Builder::discard(Uuid volume, uint64_t block, uint64_t blocks) {
    block::Volume* handle = check(simulator_.run(pool_->attach(volume, false)));
    check(simulator_.run(handle->discard(block * kBlockBytes, blocks * kBlockBytes)));
    simulator_.run(pool_->detach(handle));
    std::erase_if(expected(volume).blocks,
                  [&](const auto& b) { return b.first >= block && b.first < block + blocks; });
}

void Builder::flush(Uuid volume) {
    block::Volume* handle = check(simulator_.run(pool_->attach(volume, false)));
    check(simulator_.run(handle->flush()));
    simulator_.run(pool_->detach(handle));
}

void Builder::damage(Uuid volume, uint64_t block) {
    const pool::BlockExplanation where =
        check(simulator_.run(pool_->explain(volume, block * kBlockBytes)));
    for (const auto& device : devices_) {
        if (device->name() != where.device) continue;
        device->content()[where.device_offset_bytes + 9] ^= std::byte{0x55};
    }
    block::Volume* handle = check(simulator_.run(pool_->attach(volume, true)));
    std::vector<std::byte> into(kBlockBytes);
    CHECK(!simulator_.run(handle->read(block * kBlockBytes, into)).ok());
    simulator_.run(pool_->detach(handle));
    expected(volume).blocks.erase(block);
    expected(volume).tree.damaged.insert(block);
}

GoldenPool Builder::take(const std::string& name, bool closed) {
    GoldenPool golden;
    golden.name = name;
    golden.manifest.pool_name = name_;
    golden.manifest.pool = pool_uuid_;
    golden.manifest.devices = devices_.size();
    golden.manifest.closed = closed;
    for (const auto& [uuid, expected] : trees_) {
        Tree tree = expected.tree;
        for (const auto& [index, block] : expected.blocks) {
            const uint64_t left = tree.size_bytes - index * kBlockBytes;
            tree.blocks[index] = crc32c(ConstBytes(block).first(std::min(left, kBlockBytes)));
        }
        golden.manifest.trees.push_back(std::move(tree));
    }
    for (const auto& device : devices_) {
        golden.devices.emplace_back(device->content().begin(), device->content().end());
    }
    return golden;
}

}  // namespace

GoldenPool make_closed_pool() {
    Builder pool("golden", 1, 8 * kMiB, 16);
    const Uuid db = pool.volume("db", 2 * kMiB + 512, "owner=golden");
    pool.write(db, 0, 6);
    pool.write(db, 255, 2);  // across two leaves
    pool.write(db, 512);     // 512 bytes: the volume ends inside its last block
    pool.write_sectors(db, 803, 3);
    const Uuid monday = pool.snapshot(db, "monday");
    pool.protect(monday);
    pool.write(db, 1, 2);
    pool.discard(db, 4, 2);
    const Uuid tuesday = pool.snapshot(db, "tuesday");
    pool.checkpoint();
    pool.write(db, 7, 2);
    pool.write_sectors(db, 803, 1);
    const Uuid copy = pool.clone(monday, "db-clone");
    pool.write(copy, 0);
    pool.write(copy, 300);
    pool.snapshot(copy, "wednesday");
    pool.discard(copy, 0, 256);

    const Uuid rolled = pool.volume("rolled", kMiB);
    pool.write(rolled, 3, 2);
    const Uuid before = pool.snapshot(rolled, "before");
    pool.write(rolled, 4, 2);
    pool.snapshot(rolled, "after");
    pool.roll_back(rolled, before);
    pool.write(rolled, 9);

    // The largest volume: data at both ends, a hole over whole upper nodes between them.
    const Uuid thin = pool.volume("thin", uint64_t{16} << 40);
    constexpr uint64_t kThinBlocks = uint64_t{1} << 32;
    pool.write(thin, 0);
    pool.write(thin, kThinBlocks - 1);
    pool.discard(thin, 70'000, kThinBlocks / 2);
    pool.volume("empty", 512);
    pool.remove_snapshot(tuesday);
    const Uuid gone = pool.volume("gone", kMiB);
    pool.write(gone, 0, 3);
    pool.remove_volume(gone);
    pool.settle();
    pool.damage(db, 7);
    pool.flush(db);
    pool.close();
    return pool.take("closed", true);
}

GoldenPool make_journal_pool() {
    Builder pool("replayed", 2, 8 * kMiB, 256);  // no checkpoint but that one
    const Uuid db = pool.volume("db", 2 * kMiB, "a");
    const Uuid log = pool.volume("log", kMiB, "b");
    pool.write(db, 0, 3);
    const Uuid base = pool.snapshot(db, "base");
    pool.write(log, 250, 6);
    pool.checkpoint();
    // From here on everything waits in the journal.
    pool.write(db, 1, 3);
    pool.write_sectors(db, 20, 5);
    pool.flush(db);
    const Uuid later = pool.snapshot(db, "later");
    pool.write(log, 251, 2);
    pool.discard(log, 254, 2);
    pool.flush(log);
    const Uuid copy = pool.clone(base, "copy");
    pool.write(copy, 2, 1);
    const Uuid doomed = pool.snapshot(log, "doomed");
    pool.write(log, 250);
    pool.remove_snapshot(doomed);
    pool.protect(later);
    pool.volume("new", 4096);
    pool.write(db, 0);
    pool.flush(db);
    // Blocks that change several times, in one commit and in several; new regions.
    pool.write(log, 0, 4);
    pool.write(db, 0, 2);
    pool.write(db, 0);
    pool.flush(log);
    pool.write(log, 0, 2);
    pool.discard(log, 3, 1);
    pool.write(db, 300, 70);
    pool.discard(db, 301, 2);
    pool.write(db, 302);
    pool.flush(log);
    GoldenPool golden = pool.take("journal", false);
    pool.close();
    return golden;
}

}  // namespace stoa::golden
