// Errors of the tool, told to the user, and its exit codes.
#include <fmt/format.h>

#include <cstdio>

#include "apps/pool/commands.h"
#include "base/output.h"
#include "base/utf8.h"

namespace stoa::apps::pool {

int fail(const Error& error) {
    stoa::print_error("stoa-pool: {}\n", to_plain_text(error.message()));
    return error.code() == ErrorCode::busy ? kInUse : kFailed;
}

int fail_open(const Error& error) {
    const int code = fail(error);
    return error.code() == ErrorCode::not_found ? kNotAPool : code;
}

}  // namespace stoa::apps::pool
