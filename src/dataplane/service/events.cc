#include "dataplane/service/events.h"

#include <algorithm>
#include <utility>

namespace stoa::service {

void Events::add(std::string text) {
    kept_.push_back({next_++, executor_.wall_ns(), std::move(text)});
    if (kept_.size() > kKept) kept_.pop_front();
    const rpc::Event event = kept_.back();
    for (const auto& [number, listener] : listeners_) listener(event);
}

std::vector<rpc::Event> Events::since(uint64_t first) const {
    std::vector<rpc::Event> events;
    std::ranges::copy_if(kept_, std::back_inserter(events),
                         [first](const rpc::Event& event) { return event.sequence >= first; });
    return events;
}

uint64_t Events::subscribe(std::function<void(const rpc::Event&)> listener) {
    listeners_.emplace_back(next_listener_, std::move(listener));
    return next_listener_++;
}

void Events::unsubscribe(uint64_t number) {
    std::erase_if(listeners_, [number](const auto& each) { return each.first == number; });
}

}  // namespace stoa::service
