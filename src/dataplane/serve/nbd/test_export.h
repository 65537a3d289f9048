// For tests: exports over test volumes, in a table of as many as a test wants.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dataplane/serve/nbd/export.h"
#include "dataplane/serve/nbd/test_volume.h"

namespace stoa::nbd {

// Has the contexts test:even and test:odd: blocks of 4096 alternate, beginning with "even".
class TestExport final : public Export {
public:
    TestExport(io::Executor& executor, std::string name, uint64_t size_bytes)
        : volume_(executor, size_bytes), name_(std::move(name)) {}

    bool has_origin = false;
    uint32_t times_number = UINT32_MAX;  // how often there is a context test:number=
    std::string description_text = "a disk";

    [[nodiscard]] TestVolume& disk() { return volume_; }
    [[nodiscard]] const std::string& name() const override { return name_; }
    [[nodiscard]] std::string description() const override { return description_text; }
    [[nodiscard]] block::Volume& volume() const override { return volume_; }
    [[nodiscard]] bool absent_reads_zero() const override { return !has_origin; }
    [[nodiscard]] std::vector<std::string> contexts() const override {
        return {"test:even", "test:odd"};
    }
    [[nodiscard]] std::unique_ptr<Context> context(std::string_view name) override {
        if (name == "test:even") return std::make_unique<Stripes>(0);
        if (name == "test:odd") return std::make_unique<Stripes>(1);
        if (name.starts_with("test:number=") && times_number-- > 0)
            return std::make_unique<Stripes>(2);
        return nullptr;
    }

private:
    class Stripes final : public Context {
    public:
        explicit Stripes(uint32_t phase) : phase_(phase) {}
        io::Task<Result<void>> describe(uint64_t offset_bytes, uint32_t length_bytes,
                                        size_t descriptors_max,
                                        std::vector<Descriptor>& to) override {
            const uint64_t end = offset_bytes + length_bytes;
            for (uint64_t at = offset_bytes; at < end && to.size() < descriptors_max;) {
                const uint64_t until = std::min(end, (at / 4096 + 1) * 4096);
                to.push_back({static_cast<uint32_t>(until - at),
                              static_cast<uint32_t>((at / 4096 + phase_) % 2)});
                at = until;
            }
            co_return Result<void>{};
        }

    private:
        const uint32_t phase_;
    };

    mutable TestVolume volume_;
    const std::string name_;
};

class TestTable final : public ExportTable {
public:
    TestExport& add(io::Executor& executor, std::string name, uint64_t size_bytes) {
        exports_.push_back(std::make_unique<TestExport>(executor, std::move(name), size_bytes));
        return *exports_.back();
    }
    [[nodiscard]] std::vector<Export*> list() const override {
        std::vector<Export*> all;
        for (const auto& each : exports_) all.push_back(each.get());
        return all;
    }
    // The first one is the default.
    [[nodiscard]] Export* find(std::string_view name) const override {
        for (const auto& each : exports_) {
            if (name.empty() || each->name() == name) return each.get();
        }
        return nullptr;
    }

private:
    std::vector<std::unique_ptr<TestExport>> exports_;
};

}  // namespace stoa::nbd
