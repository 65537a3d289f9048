// Errors as clients see them: application/problem+json (RFC 9457).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "controlplane/http/route.h"

namespace stoa::http {

// The status of an error's code; docs/api.md lists them.
[[nodiscard]] uint32_t status_of(ErrorCode code);
[[nodiscard]] std::string_view title_of(uint32_t status);  // "Not Found"

// {"type", "title", "status", "detail", "code", "field"}. `route`: whose fields the message may be
// about.
[[nodiscard]] Response problem(const Error& error, const Route* route = nullptr);
// With a status that the code alone does not give: 401, 405, 412, 413, 422, 429, 431.
[[nodiscard]] Response problem(uint32_t status, const Error& error, const Route* route = nullptr);

// Of Exchange::body() and stream(): 413 (too long), 408 (too slow), 400 (cut short).
[[nodiscard]] Response body_problem(const Error& error);

// The field that a message is about, such as "disks[1].name": it is named at the start, as
// `"FIELD" must be`, `FIELD: `, `FIELD "value": ` or `unknown field "FIELD"`, and its first word is
// a member of the route's body or of its query. Empty: none.
[[nodiscard]] std::string field_of(std::string_view message, const Route& route);

}  // namespace stoa::http
