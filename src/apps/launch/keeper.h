// The keeper: parent of the program, for its log and its exit status; it ends with it.
#pragma once

#include "apps/launch/channel.h"

namespace stoa::apps::launch {

// Starts the program and replies; then keeps it until it has ended. Returns the exit code of the
// keeper itself. Everything it needs happens in this order, so that a kill at any point leaves
// either no program, or one that the status file names:
//   1. the child is forked and waits for a word;
//   2. the status file names it;
//   3. the word: it becomes the program (or says why not: the status file is removed).
int keep(Channel& channel, Order order);

}  // namespace stoa::apps::launch
