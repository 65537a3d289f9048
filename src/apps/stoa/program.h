// What main() does.
#pragma once

#include <string>
#include <vector>

namespace stoa::cli {

// Runs one command; prints what it has to say; returns the exit code.
int run_program(const std::vector<std::string>& words);

}  // namespace stoa::cli
