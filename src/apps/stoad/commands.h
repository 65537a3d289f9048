// What the program can be told on its command line; each gives the exit code.
#pragma once

#include <string>

#include "apps/stoad/options.h"

namespace stoa::apps::stoad {

// Until SIGTERM or SIGINT. 0: stopped as asked; 1: the message says why.
int serve(const Options& options);

// While stoad is stopped. 0: done; 1: refused or failed, nothing was changed.
int recover_administrator(const Options& options, const std::string& user);
int renew_certificate(const Options& options);
int begin_restored(const Options& options);

// The file that this process runs.
[[nodiscard]] std::string own_program(const char* name);

}  // namespace stoa::apps::stoad
