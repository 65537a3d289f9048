// Tells the service manager how the daemon is (sd_notify(3)); does nothing without one.
#pragma once

#include <string_view>

namespace stoa::apps::stoad {

// For example "READY=1".
void notify_manager(std::string_view state);

}  // namespace stoa::apps::stoad
