// What befell the daemon and its pools, for operators and for stoad.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>

#include "dataplane/io/executor.h"
#include "rpc/blockd.h"

namespace stoa::service {

class Events {
public:
    explicit Events(io::Executor& executor) : executor_(executor) {}

    void add(std::string text);
    // Those still kept from `first` on (numbers begin with 1), oldest first.
    [[nodiscard]] std::vector<rpc::Event> since(uint64_t first) const;
    [[nodiscard]] uint64_t next() const { return next_; }

    // Told of each event as it is added; until unsubscribe() with the number it gave.
    uint64_t subscribe(std::function<void(const rpc::Event&)> listener);
    void unsubscribe(uint64_t number);

private:
    static constexpr size_t kKept = 1000;
    io::Executor& executor_;
    std::deque<rpc::Event> kept_;
    uint64_t next_ = 1;
    std::vector<std::pair<uint64_t, std::function<void(const rpc::Event&)>>> listeners_;
    uint64_t next_listener_ = 1;
};

}  // namespace stoa::service
