// The process that is killed while it writes: `stoa-demo writer`. Reports what it does as Events
// (history.h) on standard output.
#pragma once

#include <string>
#include <vector>

namespace stoa::apps::demo {

struct WriterOptions {
    std::vector<std::string> files;
    std::string ring;
    std::string volume;
};

// Writes until it is killed, half a minute at most; then, or after an error, returns the exit code.
int run_writer(const WriterOptions& options);

}  // namespace stoa::apps::demo
