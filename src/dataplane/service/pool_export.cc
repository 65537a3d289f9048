#include "dataplane/service/pool_export.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace stoa::service {

// Lives no longer than its connection, which ends before the export does.
class PoolExport::ChangedSince final : public nbd::Context {
public:
    ChangedSince(const PoolExport& exported, const Uuid& snapshot)
        : export_(exported), snapshot_(snapshot) {}

    io::Task<Result<void>> describe(uint64_t offset_bytes, uint32_t length_bytes,
                                    size_t descriptors_max,
                                    std::vector<nbd::Descriptor>& to) override {
        uint64_t at = offset_bytes;
        const uint64_t end = offset_bytes + length_bytes;
        const auto add = [&](uint64_t until, uint32_t flags) {
            until = std::min(until, end);
            if (until <= at) return true;
            if (!nbd::append(to, static_cast<uint32_t>(until - at), flags, descriptors_max)) {
                return false;
            }
            at = until;
            return true;
        };
        while (at < end) {
            if (export_.pool_ == nullptr) {
                co_return Error(ErrorCode::cancelled, "the volume is no longer attached");
            }
            // One range more than can be told: where the last one ends is known then.
            CO_TRY_ASSIGN(
                const pool::DiffPage page,
                co_await export_.pool_->diff(snapshot_, export_.object_, at,
                                             std::min<size_t>(descriptors_max + 1, 1024)));
            for (const pool::DiffRange& range : page.ranges) {
                const bool zero =
                    range.kind == block::ExtentKind::hole ||
                    (range.kind == block::ExtentKind::absent && export_.absent_reads_zero_);
                const uint32_t flags = nbd::kStatusChanged | (zero ? nbd::kStatusChangedToZero : 0);
                if (!add(range.offset_bytes, 0) ||
                    !add(range.offset_bytes + range.length_bytes, flags)) {
                    co_return Result<void>{};
                }
            }
            if (!add(page.finished ? end : page.next_offset_bytes, 0)) co_return Result<void>{};
        }
        co_return Result<void>{};
    }

private:
    const PoolExport& export_;
    const Uuid snapshot_;
};

// A handle of its own, behind a gate of its own.
class PoolExport::Use final : public nbd::ExportUse {
public:
    static std::unique_ptr<Use> create(PoolExport& exported) {
        block::Volume* handle =
            exported.pool_ != nullptr ? exported.pool_->share(&exported.handle_) : nullptr;
        auto gate = std::make_unique<Gate>(handle != nullptr ? *handle : exported.handle_);
        if (handle == nullptr) gate->close();
        return std::unique_ptr<Use>(new Use(exported, handle, std::move(gate)));
    }
    ~Use() override {
        CHECK(handle_ == nullptr);
        std::erase(export_.uses_, this);
    }
    void close() { gate_->close(); }
    io::Task<void> end() override {
        gate_->close();
        if (handle_ != nullptr) co_await pool_->detach(std::exchange(handle_, nullptr));
    }

private:
    Use(PoolExport& exported, block::Volume* handle, std::unique_ptr<Gate> gate)
        : ExportUse(*gate), export_(exported), pool_(exported.pool_), handle_(handle),
          gate_(std::move(gate)) {
        export_.uses_.push_back(this);
    }

    PoolExport& export_;
    pool::Pool* const pool_;
    block::Volume* handle_;
    const std::unique_ptr<Gate> gate_;
};

std::unique_ptr<nbd::ExportUse> PoolExport::use() { return Use::create(*this); }

PoolExport::PoolExport(pool::Pool& pool, block::Volume& volume, const Uuid& object,
                       std::string name)
    : pool_(&pool), handle_(volume), object_(object), name_(std::move(name)),
      gate_(std::make_unique<Gate>(volume)) {
    const std::string pool_name = pool.info().name;
    if (const auto info = pool.volume(object); info.ok()) {
        description_ = fmt::format("volume {} of pool {}", info->name, pool_name);
        absent_reads_zero_ = info->origin.is_nil() || info->hydrated;
    } else if (const auto snapshot = pool.snapshot_info(object); snapshot.ok()) {
        description_ = fmt::format("snapshot {} of pool {}", snapshot->name, pool_name);
        absent_reads_zero_ = snapshot->origin.is_nil() || snapshot->hydrated;
    }
}

void PoolExport::close() {
    gate_->close();
    for (Use* use : uses_) use->close();
    pool_ = nullptr;
}

std::vector<pool::SnapshotInfo> PoolExport::relatives() const {
    if (pool_ == nullptr) return {};
    Uuid volume = object_;
    if (const auto snapshot = pool_->snapshot_info(object_); snapshot.ok()) {
        volume = snapshot->volume;
    }
    return pool_->snapshots(volume);
}

std::vector<std::string> PoolExport::contexts() const {
    std::vector<std::string> names;
    for (const pool::SnapshotInfo& snapshot : relatives()) {
        if (snapshot.uuid != object_ && !snapshot.deleting) {
            names.push_back(std::string(nbd::kChangedSince) + snapshot.name);
        }
    }
    return names;
}

std::unique_ptr<nbd::Context> PoolExport::context(std::string_view name) {
    if (!name.starts_with(nbd::kChangedSince) || pool_ == nullptr) return nullptr;
    const std::string_view wanted = name.substr(nbd::kChangedSince.size());
    for (const pool::SnapshotInfo& snapshot : relatives()) {
        if (snapshot.name == wanted && !snapshot.deleting) {
            return std::make_unique<ChangedSince>(*this, snapshot.uuid);
        }
    }
    // Any of the pool by UUID: for clones, whose common snapshot is another volume's.
    const auto uuid = Uuid::parse(wanted);
    if (!uuid.ok() || !pool_->snapshot_info(*uuid).ok()) return nullptr;
    return std::make_unique<ChangedSince>(*this, *uuid);
}

}  // namespace stoa::service
