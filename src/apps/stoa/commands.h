// Commands that are more than one request; each lies in a file of its own.
#pragma once

#include "apps/stoa/context.h"

namespace stoa::cli {

Result<int> run_apply(Context& context, const Invocation& invocation);
Result<int> run_audit(Context& context, const Invocation& invocation);
Result<int> run_completion(Context& context, const Invocation& invocation);
Result<int> run_console(Context& context, const Invocation& invocation);
Result<int> run_events(Context& context, const Invocation& invocation);
Result<int> run_exec(Context& context, const Invocation& invocation);
Result<int> run_help(Context& context, const Invocation& invocation);
Result<int> run_host_check(Context& context, const Invocation& invocation);
Result<int> run_host_show(Context& context, const Invocation& invocation);
Result<int> run_image_build(Context& context, const Invocation& invocation);
Result<int> run_image_import(Context& context, const Invocation& invocation);
Result<int> run_login(Context& context, const Invocation& invocation);
Result<int> run_logs(Context& context, const Invocation& invocation);
Result<int> run_pool_create(Context& context, const Invocation& invocation);
Result<int> run_pull(Context& context, const Invocation& invocation);
Result<int> run_push(Context& context, const Invocation& invocation);
Result<int> run_remote_add(Context& context, const Invocation& invocation);
Result<int> run_remote_delete(Context& context, const Invocation& invocation);
Result<int> run_remote_list(Context& context, const Invocation& invocation);
Result<int> run_remote_show(Context& context, const Invocation& invocation);
Result<int> run_screenshot(Context& context, const Invocation& invocation);
Result<int> run_support_bundle(Context& context, const Invocation& invocation);
Result<int> run_token_create(Context& context, const Invocation& invocation);
Result<int> run_user_create(Context& context, const Invocation& invocation);
Result<int> run_user_password(Context& context, const Invocation& invocation);
Result<int> run_version(Context& context, const Invocation& invocation);
Result<int> run_why(Context& context, const Invocation& invocation);

}  // namespace stoa::cli
