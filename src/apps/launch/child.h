// Between fork and exec: makes the process what the order says, then becomes the program.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "apps/launch/channel.h"

namespace stoa::apps::launch {

// What the child tells the keeper through a pipe that closes with a successful exec.
struct ChildMessage {
    int32_t error = 0;
    bool is_warning = false;  // and it goes on
    std::array<char, 24> step{};
    std::array<char, 64> what{};
};

struct ChildPipes {
    int go = -1;      // one byte comes when the child may begin; end of file: it must not
    int report = -1;  // ChildMessages go here
    int log = -1;     // becomes stdout and stderr; -1: /dev/null
};

// Never returns.
[[noreturn]] void become(const Order& order, const ChildPipes& pipes);

}  // namespace stoa::apps::launch
