// Planted bugs for mutation testing: each MUTANT(number) makes the code wrong on purpose when that
// number is selected, and some test must notice. Only the `mutants` preset contains them; elsewhere
// MUTANT is the constant false and no symbol of this file exists (tools/no_mutants.sh).
//
//     if (!MUTANT(3)) CO_TRY(co_await flush_all());  // 3: skip the flush before the superblock
//
// A number is used in one place of the tree; 0 is no mutant.
#pragma once

#ifdef STOA_MUTANTS

namespace stoa {

// True if `number` is the selected one: by select_mutant(), before it is called by the environment
// variable STOA_MUTANT; without both, none is.
[[nodiscard]] bool mutant(int number);
void select_mutant(int number);

}  // namespace stoa

#define MUTANT(number) (::stoa::mutant(number))

#else

#define MUTANT(number) false

#endif
