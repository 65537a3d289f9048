// Route: one entry of the API's table. Server, OpenAPI document and permissions come from it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/json.h"
#include "controlplane/async/async.h"
#include "controlplane/task/plan.h"

namespace stoa::http {

enum class Method : uint8_t { get, post, put, patch, erase };

struct Request {
    Method method = Method::get;
    std::string path;
    std::map<std::string, std::string> parameters;  // of the path: {id}
    std::map<std::string, std::string> query;       // decoded
    Json body;                                      // null: none
    std::string principal;                          // "user/ID", "local/UID"
    std::optional<std::string> if_match;            // revision
};

struct Response {
    uint32_t status = 200;
    Json body;
    std::map<std::string, std::string> headers;
    // Instead of `body`, if not empty: text of another type.
    std::string text;
    std::string text_type;
};

using Read = std::function<Async<Response>(const Request&)>;
// Pure: the plan is shown (plan=true) or submitted. The answer to a submitted plan is 202 with
// {"task": ID, "target": "KIND/ID"}; to one without steps 200 or 201 and the target's record.
using Change = std::function<Result<task::Plan>(const Request&)>;
// Changes something without a plan; only what is on the list of exemptions.
using Direct = std::function<Async<Response>(const Request&)>;

enum class HostScope : uint8_t { any, owner };

struct Route {
    Method method = Method::get;
    std::string path;        // "/v1/vms/{vm}/start"
    std::string permission;  // "vm.start"; empty: anybody, without login
    // The resource whose path the permission is asked for: "/vm/{vm}"; ids and names are resolved
    // by the access check. Empty: "/".
    std::string resource;
    HostScope scope = HostScope::any;
    std::string summary;  // for the OpenAPI document and the CLI
    std::variant<Read, Change, Direct> handler;
    // JSON schemas (base/schema.h) of body and answer; null: none.
    Json body_schema;
    Json answer_schema;
};

}  // namespace stoa::http
