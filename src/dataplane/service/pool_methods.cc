// Methods of pools.
#include <fmt/format.h>

#include <utility>

#include "dataplane/service/service.h"

namespace stoa::service {

void Service::add_pool_methods() {
    add("pool.create", &Service::pool_create);
    add("pool.open", &Service::pool_open);
    add("pool.close", &Service::pool_close);
    add("pool.get", &Service::pool_get);
    add("pool.list", &Service::pool_list);
    add("pool.grow", &Service::pool_grow);
    add("pool.add_device", &Service::pool_add_device);
    add("pool.scrub", &Service::pool_scrub);
    add("pool.damage", &Service::pool_damage);
    add("pool.checkpoint", &Service::pool_checkpoint);
    add("pool.settle", &Service::pool_settle);
}

io::Task<Result<rpc::PoolStatus>> Service::pool_create(rpc::PoolCreate request) {
    CO_TRY_ASSIGN(const Uuid uuid, co_await pools_.create(std::move(request)));
    co_return pools_.status(uuid);
}

io::Task<Result<rpc::PoolStatus>> Service::pool_open(rpc::PoolOpen request) {
    CO_TRY_ASSIGN(const Uuid uuid, co_await pools_.open(std::move(request)));
    co_return pools_.status(uuid);
}

io::Task<Result<rpc::Nothing>> Service::pool_close(rpc::PoolRef request) {
    // An attachment that is being made is there, or finds no pool.
    io::Mutex::Guard unchanged = co_await attachments_.hold();
    CO_TRY_ASSIGN(const Uuid uuid, pools_.find(request.pool));
    const std::vector<std::string> users = attachments_.users_of(uuid);
    if (!users.empty()) {
        co_return Error(ErrorCode::in_use, fmt::format("pool {}: is used by {}", pools_.name(uuid),
                                                       fmt::join(users, ", ")));
    }
    if (const auto task = background_.running_in(uuid)) {
        co_return Error(ErrorCode::in_use, fmt::format("pool {}: task {} ({}) runs",
                                                       pools_.name(uuid), task->task, task->what));
    }
    CO_TRY(pools_.begin_close(uuid));
    unchanged.unlock();
    CO_TRY(co_await pools_.finish_close(uuid));
    co_return rpc::Nothing{};
}

io::Task<Result<rpc::PoolStatus>> Service::pool_get(rpc::PoolRef request) {
    CO_TRY_ASSIGN(const Uuid uuid, pools_.find(request.pool));
    co_return pools_.status(uuid);
}

io::Task<Result<rpc::PoolList>> Service::pool_list(rpc::Nothing /*request*/) {
    rpc::PoolList list;
    for (const Uuid& uuid : pools_.list()) list.pools.push_back(pools_.status(uuid));
    co_return list;
}

io::Task<Result<rpc::PoolStatus>> Service::pool_grow(rpc::PoolRef request) {
    CO_TRY_ASSIGN(const Uuid uuid, pools_.find(request.pool));
    CO_TRY(co_await pools_.grow(uuid));
    co_return pools_.status(uuid);
}

io::Task<Result<rpc::PoolStatus>> Service::pool_add_device(rpc::PoolAddDevice request) {
    CO_TRY_ASSIGN(const Uuid uuid, pools_.find(request.pool));
    CO_TRY(co_await pools_.add_device(uuid, std::move(request)));
    co_return pools_.status(uuid);
}

io::Task<Result<rpc::TaskRef>> Service::pool_scrub(rpc::PoolScrub request) {
    CO_TRY_ASSIGN(PoolUse pool, open_pool(request.pool));
    const auto work = [](pool::Pool& of, uint64_t rate,
                         Background::Control& control) -> io::Task<Result<Json>> {
        pool::ScrubOptions options;
        options.bytes_per_second = rate;
        options.progress = control.progress();
        CO_TRY_ASSIGN(const pool::ScrubReport report, co_await of.scrub(std::move(options)));
        if (control.cancelled) co_return Error(ErrorCode::cancelled, "cancelled, as asked");
        co_return to_json(
            rpc::ScrubResult{report.blocks_checked, report.blocks_repaired, report.blocks_damaged});
    };
    const pool::PoolInfo info = pool->info();
    co_return rpc::TaskRef{background_.start(
        fmt::format("pool.scrub {}", info.name), info.uuid, true,
        [pool = std::move(pool), work, rate = request.bytes_per_second](
            Background::Control& control) { return work(*pool, rate, control); })};
}

io::Task<Result<rpc::DamageList>> Service::pool_damage(rpc::PoolRef request) {
    CO_TRY_ASSIGN(PoolUse pool, open_pool(request.pool));
    rpc::DamageList list;
    for (const pool::DamageRange& range : pool->damage()) {
        list.damage.push_back({range.object, range.offset_bytes, range.length_bytes});
    }
    co_return list;
}

io::Task<Result<rpc::Nothing>> Service::pool_checkpoint(rpc::PoolRef request) {
    CO_TRY_ASSIGN(PoolUse pool, open_pool(request.pool));
    CO_TRY(co_await pool->checkpoint());
    co_return rpc::Nothing{};
}

io::Task<Result<rpc::TaskRef>> Service::pool_settle(rpc::PoolRef request) {
    CO_TRY_ASSIGN(PoolUse pool, open_pool(request.pool));
    const pool::PoolInfo info = pool->info();
    co_return rpc::TaskRef{background_.start(
        fmt::format("pool.settle {}", info.name), info.uuid, false,
        [pool = std::move(pool)](Background::Control& /*control*/) { return pool->settle(); })};
}

}  // namespace stoa::service
