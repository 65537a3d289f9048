// For tests of what a pool is made of: simulated disks as the devices of a pool, without a pool.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include "dataplane/io/sim/disk.h"
#include "dataplane/io/sim/simulator.h"
#include "dataplane/pool/devices.h"
#include "dataplane/pool/format.h"
#include "dataplane/pool/format_device.h"

namespace stoa::pool {

struct TestDevices {
    static constexpr uint64_t kDiskBytes = uint64_t{8} << 20;
    static constexpr uint32_t kRegionBlocks = 64;
    static constexpr uint64_t kJournalBlocks = 16;

    explicit TestDevices(size_t count = 1) {
        CreateOptions geometry;
        geometry.region_blocks = kRegionBlocks;
        geometry.journal_blocks = kJournalBlocks;
        label = make_geometry(count * kDiskBytes / kBlockBytes, geometry);
        for (size_t d = 0; d < count; ++d) {
            io::sim::DiskOptions options;
            options.name = fmt::format("disk{}", d);
            options.seed = d + 1;
            disks.push_back(std::make_unique<io::sim::Disk>(
                simulator, options, io::sim::Medium(io::sim::Image(kDiskBytes))));
            devices.list.push_back(
                {.device = disks.back().get(), .label = label, .layout = DeviceLayout(label)});
            slots[d].physical_regions = physical_regions(*disks.back(), label);
            slots[d].state = DeviceState::present;
        }
    }
    TestDevices(const TestDevices&) = delete;
    TestDevices& operator=(const TestDevices&) = delete;

    // Overwrites a block with bytes that nothing verifies.
    void damage_block(size_t device, uint64_t block) const {
        std::array<std::byte, kBlockBytes> noise;
        noise.fill(std::byte{0xA5});
        disks[device]->damage(block * kBlockBytes, noise);
    }

    io::sim::Simulator simulator{5};
    std::vector<std::unique_ptr<io::sim::Disk>> disks;
    Devices devices{simulator};
    const Checksums checksums{Uuid::from_random(1, 2)};
    Label label;
    std::array<DeviceSlot, kDevicesMax> slots{};
};

}  // namespace stoa::pool
