// A volume or snapshot of a pool as the only export of its socket.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dataplane/pool/pool.h"
#include "dataplane/serve/nbd/export.h"
#include "dataplane/service/gate.h"

namespace stoa::service {

// Its metadata contexts stoa:changed-since=SNAPSHOT (name or UUID of a snapshot of the family) say
// what may differ between that snapshot and this object.
class PoolExport final : public nbd::Export, public nbd::ExportTable {
public:
    // `pool` and `volume`, a handle of `object`, outlive close().
    PoolExport(pool::Pool& pool, block::Volume& volume, const Uuid& object, std::string name);

    // Nothing reaches the pool through it any more.
    void close();

    [[nodiscard]] const std::string& name() const override { return name_; }
    [[nodiscard]] std::string description() const override { return description_; }
    [[nodiscard]] block::Volume& volume() const override { return *gate_; }
    [[nodiscard]] std::unique_ptr<nbd::ExportUse> use() override;
    [[nodiscard]] bool absent_reads_zero() const override { return absent_reads_zero_; }
    [[nodiscard]] std::vector<std::string> contexts() const override;
    [[nodiscard]] std::unique_ptr<nbd::Context> context(std::string_view name) override;

    [[nodiscard]] std::vector<nbd::Export*> list() const override {
        return {const_cast<PoolExport*>(this)};
    }
    // The default export and the one of this name are the same.
    [[nodiscard]] nbd::Export* find(std::string_view name) const override {
        return name.empty() || name == name_ ? const_cast<PoolExport*>(this) : nullptr;
    }

private:
    class ChangedSince;
    class Use;
    [[nodiscard]] std::vector<pool::SnapshotInfo> relatives() const;

    pool::Pool* pool_;
    block::Volume& handle_;
    std::vector<Use*> uses_;
    const Uuid object_;
    const std::string name_;
    std::string description_;
    const std::unique_ptr<Gate> gate_;
    bool absent_reads_zero_ = true;
};

}  // namespace stoa::service
