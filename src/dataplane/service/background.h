// Long work that was asked for: it has a number, progress, an end, and some of it can be cancelled.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
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
    };
    using Work = std::move_only_function<io::Task<Result<Json>>(Control&)>;

    explicit Background(io::Executor& executor) : running_(executor) {}

    // Starts `work`; `what` is for people: method and object. Gives its number.
    uint64_t start(std::string what, bool can_cancel, Work work);
    [[nodiscard]] Result<rpc::TaskStatus> status(uint64_t task) const;
    // All that run and the last that ended.
    [[nodiscard]] std::vector<rpc::TaskStatus> list() const;
    // Asks it to end. Errors: not_found, unsupported (it cannot be cancelled), invalid_argument
    // (it has ended).
    Result<void> cancel(uint64_t task);
    // Cancels what can be cancelled and waits for all. What cannot ends as its pool closes.
    io::Task<void> stop();
    void cancel_all();

private:
    static constexpr size_t kEndedKept = 100;
    struct Item {
        rpc::TaskStatus status;
        Control control;
        bool can_cancel = false;
    };
    io::Task<void> run(Item& item, Work work);
    void forget_old();

    std::map<uint64_t, Item> items_;
    io::TaskGroup running_;
    uint64_t next_ = 1;
};

}  // namespace stoa::service
