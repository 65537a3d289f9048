#include "base/mutant.h"

#ifdef STOA_MUTANTS

#include <atomic>
#include <cstdlib>

namespace stoa {

namespace {

std::atomic<int>& selected() {
    static std::atomic<int> number = [] {
        const char* text = std::getenv("STOA_MUTANT");
        return text == nullptr ? 0 : std::atoi(text);
    }();
    return number;
}

}  // namespace

bool mutant(int number) { return selected().load(std::memory_order_relaxed) == number; }

void select_mutant(int number) { selected().store(number, std::memory_order_relaxed); }

}  // namespace stoa

#endif
