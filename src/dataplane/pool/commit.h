// Commits: how records become durable. One journal append, then one flush of every touched device
// covers the data and the records together; flushes that arrive meanwhile share the next one.
#pragma once

#include "dataplane/pool/core.h"

namespace stoa::pool {

// Waits until every record appended so far is durable. Returns at once if all are.
// Errors: read_only (the reason of the failure), cancelled (`give_up`, while a host is full).
io::Task<Result<void>> make_durable(Core& core, const bool* give_up = nullptr);

// The background task that commits and, when asked, checkpoints. Ends when core.closing is set
// and nothing is left to commit, or the pool failed.
io::Task<void> run_committer(Core& core);

// Writes a proof note 10 ms after a commit that nothing follows.
io::Task<void> run_prover(Core& core);

// Wants a checkpoint when nothing was changed for a while, so that a quiet pool opens quickly.
io::Task<void> run_idle_watch(Core& core);

// Commits everything appended so far; the caller holds commit_lock. `at_boundary`, if given, runs
// in the instant in which the last batch is cut: what was applied before is in the commit, what
// comes after is not. Errors: io (the pool failed).
io::Task<Result<void>> commit_all(Core& core, const std::function<void()>& at_boundary);

}  // namespace stoa::pool
