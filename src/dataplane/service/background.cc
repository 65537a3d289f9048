#include "dataplane/service/background.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace stoa::service {

uint64_t Background::start(std::string what, std::optional<Uuid> pool, bool can_cancel, Work work) {
    const uint64_t number = next_++;
    Item& item = items_[number];
    item.status.task = number;
    item.status.what = std::move(what);
    item.pool = pool;
    item.can_cancel = can_cancel;
    running_.spawn(run(item, std::move(work)));
    return number;
}

uint64_t Background::start(std::string what, std::optional<Uuid> pool, bool can_cancel,
                           SimpleWork work) {
    return start(std::move(what), pool, can_cancel,
                 [work = std::move(work)](Control& control) mutable {
                     return [](SimpleWork begin, Control& of) -> io::Task<Result<Json>> {
                         CO_TRY(co_await begin(of));
                         co_return Json(JsonObject());
                     }(std::move(work), control);
                 });
}

io::Task<void> Background::run(Item& item, Work work) {
    auto result = co_await work(item.control);
    if (result.ok()) {
        item.status.state = rpc::TaskState::done;
        item.status.result = *std::move(result);
    } else {
        item.status.state = result.error().code() == ErrorCode::cancelled
                                ? rpc::TaskState::cancelled
                                : rpc::TaskState::failed;
        item.status.error = result.error().message();
    }
    item.status.done_bytes = item.control.done_bytes;
    item.status.total_bytes = item.control.total_bytes;
    forget_old();
}

void Background::forget_old() {
    const auto has_ended = [](const auto& each) {
        return each.second.status.state != rpc::TaskState::running;
    };
    auto ended = static_cast<size_t>(std::ranges::count_if(items_, has_ended));
    for (auto each = items_.begin(); ended > kEndedKept;) {
        if (has_ended(*each)) {
            each = items_.erase(each);
            --ended;
        } else {
            ++each;
        }
    }
}

namespace {

template <class Item>
rpc::TaskStatus status_of(const Item& item) {
    rpc::TaskStatus status = item.status;
    if (status.state == rpc::TaskState::running) {
        status.done_bytes = item.control.done_bytes;
        status.total_bytes = item.control.total_bytes;
    }
    return status;
}

Error unknown(uint64_t task) {
    return {ErrorCode::not_found, fmt::format("task {}: there is none of this number", task)};
}

}  // namespace

Result<rpc::TaskStatus> Background::status(uint64_t task) const {
    const auto found = items_.find(task);
    if (found == items_.end()) return unknown(task);
    return status_of(found->second);
}

std::vector<rpc::TaskStatus> Background::list() const {
    std::vector<rpc::TaskStatus> all;
    all.reserve(items_.size());
    for (const auto& [number, item] : items_) all.push_back(status_of(item));
    return all;
}

std::optional<rpc::TaskStatus> Background::running_in(const Uuid& pool) const {
    for (const auto& [number, item] : items_) {
        if (item.pool == pool && item.status.state == rpc::TaskState::running) {
            return status_of(item);
        }
    }
    return std::nullopt;
}

Result<void> Background::cancel(uint64_t task) {
    const auto found = items_.find(task);
    if (found == items_.end()) return unknown(task);
    Item& item = found->second;
    if (item.status.state != rpc::TaskState::running) {
        return Error(ErrorCode::invalid_argument, fmt::format("task {} has ended", task));
    }
    if (!item.can_cancel) {
        return Error(ErrorCode::unsupported,
                     fmt::format("task {} ({}) cannot be cancelled: it goes on by itself, also "
                                 "after a restart",
                                 task, item.status.what));
    }
    item.control.cancelled = true;
    return {};
}

io::Task<void> Background::stop() { co_await running_.join(); }

}  // namespace stoa::service
