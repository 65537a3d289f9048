// What the daemon answers instead of doing what was asked: problem+json (RFC 9457).
//
// Its parser is fuzzed by problem_fuzz.cc.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace stoa::client {

struct Problem {
    uint32_t status = 0;
    std::string title;
    std::string detail;
    ErrorCode code = ErrorCode::io;
    std::string field;  // the one at fault, if one is
    std::string task;   // the task that failed, if one did

    // "FIELD: DETAIL", or what there is.
    [[nodiscard]] Error to_error() const;
};

// Never fails: what cannot be read is described.
[[nodiscard]] Problem parse_problem(uint32_t status, std::string_view body);

// The code for a word such as "not_found". False: there is none.
[[nodiscard]] bool parse_code(std::string_view word, ErrorCode& code);

}  // namespace stoa::client
