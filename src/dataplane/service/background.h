// Long work that was asked for: it has a number, progress, an end, and some of it can be cancelled.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/io/sync.h"
#include "rpc/blockd.h"

namespace stoa::service {

class Background {
public:
    // What the work sees of itself. It lives as long as the work runs.
    struct Control {
        uint64_t done_bytes = 0;
        uint64_t total_bytes = 0;  // 0: not known
        bool cancelled = false;  // please end, with ErrorCode::cancelled
        // For work that tells how far it is and stops at `false`.
        [[nodiscard]] std::function<bool(uint64_t, uint64_t)> progress() {
            return [this](uint64_t done, uint64_t total) {
                done_bytes = done;
                total_bytes = total;
                return !cancelled;
            };
        }
    };
    using Work = std::move_only_function<io::Task<Result<Json>>(Control&)>;
    using SimpleWork = std::move_only_function<io::Task<Result<void>>(Control&)>;  // no result

    explicit Background(io::Executor& executor) : running_(executor) {}

    // Starts `work`, in `pool` if it is in one; `what` is for people: method and object. Gives its
    // number.
    uint64_t start(std::string what, std::optional<Uuid> pool, bool can_cancel, Work work);
    uint64_t start(std::string what, std::optional<Uuid> pool, bool can_cancel, SimpleWork work);
    [[nodiscard]] Result<rpc::TaskStatus> status(uint64_t task) const;
    // All that run and the last that ended.
    [[nodiscard]] std::vector<rpc::TaskStatus> list() const;
    // Some work that runs in `pool`.
    [[nodiscard]] std::optional<rpc::TaskStatus> running_in(const Uuid& pool) const;
    // Asks it to end. Errors: not_found, unsupported (it cannot be cancelled), invalid_argument
    // (it has ended).
    Result<void> cancel(uint64_t task);
    // Waits for all; work ends as its pool closes (and what goes on by itself goes on later).
    io::Task<void> stop();

private:
    static constexpr size_t kEndedKept = 100;
    struct Item {
        rpc::TaskStatus status;
        Control control;
        std::optional<Uuid> pool;
        bool can_cancel = false;
    };
    io::Task<void> run(Item& item, Work work);
    void forget_old();

    std::map<uint64_t, Item> items_;
    io::TaskGroup running_;
    uint64_t next_ = 1;
};

}  // namespace stoa::service
