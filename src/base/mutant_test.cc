#include "base/mutant.h"

#include <gtest/gtest.h>

namespace stoa {
namespace {

#ifdef STOA_MUTANTS

TEST(Mutant, only_the_selected_one_is_active) {
    select_mutant(3);
    EXPECT_TRUE(MUTANT(3));
    EXPECT_FALSE(MUTANT(4));
    select_mutant(0);
    EXPECT_FALSE(MUTANT(3));
}

#else

TEST(Mutant, is_the_constant_false_outside_the_mutants_preset) {
    static_assert(!MUTANT(3));
    EXPECT_FALSE(MUTANT(3));
}

#endif

}  // namespace
}  // namespace stoa
