// What most verbs do: one request for each thing that is named.
#pragma once

#include "apps/stoa/context.h"

namespace stoa::cli {

Result<int> run_list(Context& context, const Invocation& invocation);
Result<int> run_show(Context& context, const Invocation& invocation);
// POST to the collection; the first argument is the name.
Result<int> run_create(Context& context, const Invocation& invocation);
// PATCH.
Result<int> run_set(Context& context, const Invocation& invocation);
Result<int> run_delete(Context& context, const Invocation& invocation);
// POST to the verb's path of each item; all are asked for before the first is waited for.
Result<int> run_action(Context& context, const Invocation& invocation);
// The record as JSON in an editor, then PATCH of what was changed.
Result<int> run_edit(Context& context, const Invocation& invocation);

}  // namespace stoa::cli
