// Creating a pool: geometry, labels, the first superblock. Labels come last, so that a pool whose
// creation was interrupted is no pool.
#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "dataplane/pool/format_device.h"
#include "dataplane/pool/names.h"
#include "dataplane/pool/takeover.h"

namespace stoa::pool {

namespace {

constexpr uint64_t kRegionsWanted = 128;  // at least so many, if the pool is not tiny

uint32_t choose_region_blocks(uint64_t total_blocks) {
    const uint64_t wanted = total_blocks / kRegionsWanted;
    const uint64_t power = wanted == 0 ? 1 : std::bit_floor(wanted);
    return static_cast<uint32_t>(std::clamp<uint64_t>(power, kRegionBlocksMin, kRegionBlocksMax));
}

uint64_t choose_journal_blocks(uint64_t total_blocks) {
    // 1/256 of the pool, between 256 KiB and 64 MiB a copy.
    return std::clamp<uint64_t>(std::bit_floor(std::max<uint64_t>(total_blocks / 256, 1)), 64,
                                16384);
}

Result<void> check_options(const CreateOptions& options) {
    TRY(check_pool_name(options.name));
    if (options.region_blocks != 0 &&
        (!std::has_single_bit(options.region_blocks) || options.region_blocks < kRegionBlocksMin ||
         options.region_blocks > kRegionBlocksMax)) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("regions of {} blocks are not possible: a power of two from {} "
                                 "to {}",
                                 options.region_blocks, kRegionBlocksMin, kRegionBlocksMax));
    }
    if (options.journal_blocks != 0 &&
        (options.journal_blocks < 16 || options.journal_blocks > (uint64_t{1} << 24))) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("a journal of {} blocks is not possible: at least 16",
                                 options.journal_blocks));
    }
    return {};
}

}  // namespace

Label make_geometry(uint64_t total_blocks, const CreateOptions& options) {
    Label label;
    label.name = options.name;
    label.region_blocks =
        options.region_blocks != 0 ? options.region_blocks : choose_region_blocks(total_blocks);
    label.journal_blocks =
        options.journal_blocks != 0 ? options.journal_blocks : choose_journal_blocks(total_blocks);
    const uint64_t capacity = options.capacity_max_bytes != 0
                                  ? options.capacity_max_bytes / kBlockBytes
                                  : 8 * total_blocks;
    const uint64_t regions =
        std::max<uint64_t>(std::max(capacity, total_blocks) / label.region_blocks + 1, 64);
    label.regions_max = static_cast<uint32_t>(std::min<uint64_t>(
        regions, uint64_t{kIndexBlocksMax} * kTablesPerIndexBlock * kRegionsPerTableBlock));
    label.table_blocks = static_cast<uint32_t>((label.regions_max + kRegionsPerTableBlock - 1) /
                                               kRegionsPerTableBlock);
    label.index_blocks = static_cast<uint32_t>((label.table_blocks + kTablesPerIndexBlock - 1) /
                                               kTablesPerIndexBlock);
    label.data_start = (DeviceLayout::system_blocks(label) + 63) / 64 * 64;
    return label;
}

uint32_t physical_regions(const io::Device& device, const Label& label) {
    const uint64_t blocks = device.size_bytes() / kBlockBytes;
    if (blocks <= label.data_start) return 0;
    return static_cast<uint32_t>(
        std::min<uint64_t>((blocks - label.data_start) / label.region_blocks, UINT32_MAX));
}

io::Task<Result<void>> write_labels(io::Device& device, const Label& label) {
    const DeviceLayout layout(label);
    AlignedBuffer block(kBlockBytes);
    encode_label(label, block.bytes());
    for (const uint64_t at : layout.label) {
        const int error = co_await device.write(at * kBlockBytes, block.bytes());
        if (error != 0) {
            co_return Error(ErrorCode::io,
                            fmt::format("device {} cannot be labelled", device.name()), error);
        }
    }
    const int error = co_await device.flush();
    if (error != 0) {
        co_return Error(ErrorCode::io, fmt::format("device {} cannot be flushed", device.name()),
                        error);
    }
    co_return Result<void>{};
}

namespace {

// What a new pool writes first.
struct Plan {
    Label label;  // but for what is each device's own
    Superblock superblock;
};

Result<void> check_device_list(const std::vector<io::Device*>& devices) {
    if (devices.empty() || devices.size() > kDevicesMax) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("a pool of {} devices is not possible (1 to {})", devices.size(),
                                 kDevicesMax));
    }
    for (size_t d = 0; d < devices.size(); ++d) {
        if (std::ranges::count(devices, devices[d]) > 1) {
            return Error(ErrorCode::invalid_argument,
                         fmt::format("device {} is named twice", devices[d]->name()));
        }
    }
    return {};
}

uint64_t default_reserve_blocks(uint64_t regions, uint32_t region_blocks) {
    const uint64_t usable = regions * region_blocks;
    constexpr uint64_t kLeast = (uint64_t{64} << 20) / kBlockBytes;
    constexpr uint64_t kMost = (uint64_t{128} << 30) / kBlockBytes;
    return std::max(std::min({std::max(usable / 50, kLeast), kMost, usable / 8}),
                    uint64_t{4} * region_blocks);
}

// Errors: no_space, invalid_argument (the devices do not fit the geometry).
Result<Plan> make_plan(io::Executor& executor, const std::vector<io::Device*>& devices,
                       const CreateOptions& options) {
    const auto random_uuid = [&executor] {
        const uint64_t high = executor.random();
        return Uuid::from_random(high, executor.random());
    };
    uint64_t total_blocks = 0;
    for (const io::Device* device : devices) total_blocks += device->size_bytes() / kBlockBytes;
    Plan plan;
    Label& label = plan.label;
    label = make_geometry(total_blocks, options);
    label.pool = options.uuid.is_nil() ? random_uuid() : options.uuid;
    label.creation = random_uuid();
    Superblock& superblock = plan.superblock;
    superblock.pool = label.pool;
    superblock.generation = 1;
    superblock.epoch = 1;
    superblock.flags = Superblock::kClean;
    superblock.wall_ns = executor.wall_ns();
    superblock.device_count = static_cast<uint16_t>(devices.size());
    superblock.placement = {0, static_cast<uint16_t>(devices.size() > 1 ? 1 : 0)};
    superblock.cuts = {{0, 0, 0}};
    uint64_t regions = 0;
    for (size_t d = 0; d < devices.size(); ++d) {
        superblock.devices[d] = {random_uuid(), physical_regions(*devices[d], label),
                                 DeviceState::present};
        regions += superblock.devices[d].physical_regions;
        constexpr uint32_t kRegionsMin = 8;
        if (superblock.devices[d].physical_regions < kRegionsMin) {
            return Error(
                ErrorCode::no_space,
                fmt::format("device {} has {} bytes; this pool needs at least {} on each device",
                            devices[d]->name(), devices[d]->size_bytes(),
                            (label.data_start + uint64_t{kRegionsMin} * label.region_blocks) *
                                kBlockBytes));
        }
    }
    if (regions > label.regions_max) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("pool '{}' would have {} bytes, more than its maximum "
                                 "capacity of {}; give it a larger one",
                                 label.name, uint64_t{regions} * label.region_blocks * kBlockBytes,
                                 uint64_t{label.regions_max} * label.region_blocks * kBlockBytes));
    }
    superblock.reserve_blocks = options.reserve_blocks != 0
                                    ? options.reserve_blocks
                                    : default_reserve_blocks(regions, label.region_blocks);
    return plan;
}

io::Task<Result<void>> write_superblocks(io::Device& device, const Plan& plan) {
    AlignedBuffer block(kBlockBytes);
    encode_superblock(plan.superblock, block.bytes());
    for (const auto& copy : DeviceLayout(plan.label).superblock) {
        const uint64_t at = copy[plan.superblock.generation % 2];
        const int error = co_await device.write(at * kBlockBytes, block.bytes());
        if (error != 0) {
            co_return Error(ErrorCode::io,
                            fmt::format("device {} cannot be written", device.name()), error);
        }
    }
    const int error = co_await device.flush();
    if (error != 0) {
        co_return Error(ErrorCode::io, fmt::format("device {} cannot be flushed", device.name()),
                        error);
    }
    co_return Result<void>{};
}

}  // namespace

io::Task<Result<void>> create_pool(io::Executor& executor, std::vector<io::Device*> devices,
                                   CreateOptions options) {
    CO_TRY(check_options(options));
    CO_TRY(check_device_list(devices));
    if (!options.force) {
        for (io::Device* device : devices) {
            CO_TRY(co_await check_device_is_free(*device, options.foreign));
        }
    }
    CO_TRY_ASSIGN(Plan plan, make_plan(executor, devices, options));
    const DeviceLayout layout(plan.label);
    for (io::Device* device : devices) CO_TRY(co_await check_writable(*device, layout));
    // From here on devices change.
    for (io::Device* device : devices) {
        if (options.force) CO_TRY(co_await clear_device(*device, options.foreign));
        CO_TRY(co_await write_superblocks(*device, plan));
    }
    for (size_t d = 0; d < devices.size(); ++d) {
        plan.label.device = plan.superblock.devices[d].uuid;
        plan.label.device_index = static_cast<uint16_t>(d);
        CO_TRY(co_await write_labels(*devices[d], plan.label));
    }
    co_return Result<void>{};
}

}  // namespace stoa::pool
