// stoa: the command line of a control plane; see docs/guide/cli.md.
#include <string>
#include <vector>

#include "apps/stoa/program.h"

int main(int argc, char** argv) {
    return stoa::cli::run_program(std::vector<std::string>(argv + 1, argv + argc));
}
