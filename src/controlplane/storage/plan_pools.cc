// Plans about pools.
#include <algorithm>

#include <fmt/format.h>

#include "controlplane/storage/planner.h"
#include "controlplane/storage/steps.h"

namespace stoa::storage {

namespace {

constexpr uint64_t kBlockBytes = 4096;

Result<void> check_name_and_labels(const PlanContext& context, const std::string& name,
                                   const model::Labels& labels) {
    TRY(model::check_name(name));
    TRY(model::check_labels(labels));
    if (name.size() > model::kPoolNameBytesMax) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("name \"{}\": a pool's has at most {} bytes", name,
                                 model::kPoolNameBytesMax));
    }
    const auto taken = context.records.find<model::Pool>(name);
    if (!taken.ok() && taken.error().code() == ErrorCode::not_found) return {};
    return Error(ErrorCode::already_exists, fmt::format("pool \"{}\" exists already", name));
}

Result<void> check_device(std::string_view field, const model::NewDevice& device, bool may_make) {
    TRY(model::check_device_path(fmt::format("{}.path", field), device.path));
    if (device.create_bytes == 0) return {};
    if (!may_make) {
        return Error(
            ErrorCode::invalid_argument,
            fmt::format("{}.create_bytes: nothing is made of a pool that is there", field));
    }
    if (device.create_bytes % kBlockBytes == 0) return {};
    return Error(ErrorCode::invalid_argument,
                 fmt::format("{}.create_bytes: must be a multiple of {}, not {}", field,
                             kBlockBytes, device.create_bytes));
}

// Which pool has the device already.
Result<void> check_device_free(const PlanContext& context, std::string_view path) {
    for (const auto& [id, pool] : context.records.all<model::Pool>()) {
        if (std::ranges::find(pool.spec.devices, path) == pool.spec.devices.end()) continue;
        return Error(ErrorCode::in_use, fmt::format("{} is a device of pool {}", path, pool.name));
    }
    return {};
}

task::Plan plan_for(const PoolRecord& pool, std::string_view verb) {
    task::Plan plan;
    plan.verb = fmt::format("pool.{}", verb);
    plan.target = fmt::format("pool/{}", pool.id.to_string());
    add_lock(plan, "pool", pool.id);
    return plan;
}

Result<task::Plan> plan_open(const PlanContext& context, const model::PoolCreate& request,
                             std::vector<std::string> devices) {
    if (request.force || request.capacity_max_bytes != 0) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("{}: only for a pool that is made",
                                 request.force ? "force" : "capacity_max_bytes"));
    }
    task::Plan plan;
    plan.verb = "pool.open";
    plan.target = fmt::format("pool/{}", request.name);
    plan.locks = {plan.target};
    plan.intent.compares.push_back({model::name_key("pool", request.name), std::nullopt});
    plan.steps.push_back(make_step(
        PoolOpenStep{request.name, request.labels, std::move(devices), context.host,
                     context.ids.now_ns()},
        fmt::format("open the pool on {} device{} as {}, and take over what it holds",
                    request.devices.size(), request.devices.size() == 1 ? "" : "s", request.name)));
    return plan;
}

}  // namespace

Result<task::Plan> plan_pool_create(const PlanContext& context, const model::PoolCreate& request) {
    TRY(check_name_and_labels(context, request.name, request.labels));
    PoolRecord pool;
    pool.id = context.ids.next();
    pool.name = request.name;
    pool.labels = request.labels;
    pool.created_ns = context.ids.now_ns();
    pool.status.host = context.host;
    std::vector<PoolDevice> devices;
    uint64_t made_bytes = 0;
    for (size_t i = 0; i < request.devices.size(); ++i) {
        const model::NewDevice& device = request.devices[i];
        TRY(check_device(fmt::format("devices[{}]", i), device, !request.open));
        TRY(check_device_free(context, device.path));
        pool.spec.devices.push_back(device.path);
        pool.spec.create_bytes = std::max(pool.spec.create_bytes, device.create_bytes);
        made_bytes += device.create_bytes;
        devices.push_back({device.path, device.create_bytes});
    }
    TRY(check(pool.spec));
    if (request.open) return plan_open(context, request, pool.spec.devices);
    task::Plan plan = plan_for(pool, "create");
    records::create(plan.intent, pool);
    plan.steps.push_back(
        make_step(PoolCreateStep{pool.id, pool.name, std::move(devices), request.force,
                                 request.capacity_max_bytes},
                  fmt::format("make pool {} on {}{}", pool.name, fmt::join(pool.spec.devices, ", "),
                              request.force ? ", overwriting what is there" : "")));
    plan.capacity_after = JsonObject{{"pool_bytes", made_bytes}};
    return plan;
}

Result<task::Plan> plan_pool_set(const PlanContext& context, std::string_view name,
                                 const model::PoolSet& request) {
    TRY_ASSIGN(const PoolRecord* pool, context.records.find<model::Pool>(name));
    task::Plan plan = plan_for(*pool, "set");
    if (!request.labels || *request.labels == pool->labels) return plan;
    TRY(model::check_labels(*request.labels));
    PoolRecord wanted = *pool;
    wanted.labels = *request.labels;
    records::replace(plan.intent, *pool, wanted);
    return plan;
}

Result<task::Plan> plan_pool_delete(const PlanContext& context, std::string_view name) {
    TRY_ASSIGN(const PoolRecord* pool, context.records.find<model::Pool>(name));
    for (const auto& [id, image] : context.records.all<model::Image>()) {
        if (image.spec.pool != pool->id || !image.spec.snapshot) continue;
        return Error(ErrorCode::in_use, fmt::format("pool {} is used by image {}: delete it first",
                                                    pool->name, image.name));
    }
    for (const auto& [id, volume] : context.records.all<model::Volume>()) {
        if (volume.spec.pool != pool->id) continue;
        const std::string users = users_of(context.records, id);
        if (users.empty()) continue;
        return Error(ErrorCode::in_use, fmt::format("pool {} is used by {}: delete that first, or "
                                                    "take the disk away",
                                                    pool->name, users));
    }
    task::Plan plan = plan_for(*pool, "delete");
    records::expect(plan.intent, *pool);
    plan.steps.push_back(make_step(
        PoolCloseStep{pool->id},
        fmt::format("close pool {} and forget it; what is on its devices stays", pool->name)));
    return plan;
}

Result<task::Plan> plan_pool_add_device(const PlanContext& context, std::string_view name,
                                        const model::PoolAddDevice& request) {
    TRY_ASSIGN(const PoolRecord* pool, context.records.find<model::Pool>(name));
    TRY(check_device("device", request.device, true));
    TRY(check_device_free(context, request.device.path));
    if (pool->spec.devices.size() >= model::kDevicesMax) {
        return Error(ErrorCode::out_of_range, fmt::format("pool {} has its maximum of {} devices",
                                                          pool->name, model::kDevicesMax));
    }
    task::Plan plan = plan_for(*pool, "add-device");
    records::expect(plan.intent, *pool);
    plan.steps.push_back(make_step(
        PoolAddDeviceStep{
            pool->id, {request.device.path, request.device.create_bytes}, request.force},
        fmt::format("add {} to pool {}", request.device.path, pool->name)));
    return plan;
}

Result<task::Plan> plan_pool_scrub(const PlanContext& context, std::string_view name,
                                   const model::PoolScrub& request) {
    TRY_ASSIGN(const PoolRecord* pool, context.records.find<model::Pool>(name));
    task::Plan plan = plan_for(*pool, "scrub");
    // It takes long, and nothing has to wait for it but another one.
    plan.locks = {fmt::format("pool-scrub/{}", pool->id.to_string())};
    plan.steps.push_back(make_step(PoolScrubStep{pool->id, request.bytes_per_second},
                                   fmt::format("read and verify all of pool {}", pool->name)));
    return plan;
}

}  // namespace stoa::storage
