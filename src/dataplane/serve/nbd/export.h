// What a server offers under a name.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "dataplane/block/volume.h"
#include "dataplane/io/task.h"
#include "dataplane/serve/nbd/wire.h"

namespace stoa::nbd {

// A metadata context of one connection: what it says of a range.
class Context {
public:
    virtual ~Context() = default;
    // Appends what is from `offset_bytes` on, in order and gapless, at most `descriptors_max`,
    // not beyond the range; at least one. Errors: any.
    virtual io::Task<Result<void>> describe(uint64_t offset_bytes, uint32_t length_bytes,
                                            size_t descriptors_max,
                                            std::vector<Descriptor>& to) = 0;
};

// What one client does with an export. Destroyed after end(), and before the export.
class ExportUse {
public:
    explicit ExportUse(block::Volume& volume) : volume_(volume) {}
    ExportUse(const ExportUse&) = delete;
    ExportUse& operator=(const ExportUse&) = delete;
    virtual ~ExportUse() = default;
    [[nodiscard]] block::Volume& volume() const { return volume_; }
    // The client has left. What waits for space is dropped, the rest has ended when this does: then
    // nothing that the client asked for changes the volume any more.
    virtual io::Task<void> end() { co_return; }

private:
    block::Volume& volume_;
};

// Outlives the connections that use it.
class Export {
public:
    virtual ~Export() = default;
    [[nodiscard]] virtual const std::string& name() const = 0;
    // For people, shown in lists; may be empty.
    [[nodiscard]] virtual std::string description() const { return {}; }
    // For questions about it.
    [[nodiscard]] virtual block::Volume& volume() const = 0;
    // For one client's requests.
    [[nodiscard]] virtual std::unique_ptr<ExportUse> use() {
        return std::make_unique<ExportUse>(volume());
    }
    // Whether absent extents read zero (they have no origin).
    [[nodiscard]] virtual bool absent_reads_zero() const { return true; }
    // Names of contexts besides base:allocation, for LIST_META_CONTEXT.
    [[nodiscard]] virtual std::vector<std::string> contexts() const { return {}; }
    // nullptr: not known. `name` is never base:allocation.
    [[nodiscard]] virtual std::unique_ptr<Context> context(std::string_view /*name*/) {
        return nullptr;
    }
};

// What one listener offers.
class ExportTable {
public:
    virtual ~ExportTable() = default;
    [[nodiscard]] virtual std::vector<Export*> list() const = 0;
    // The empty name is the default export. nullptr: none of this name.
    [[nodiscard]] virtual Export* find(std::string_view name) const = 0;
};

}  // namespace stoa::nbd
