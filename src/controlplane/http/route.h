// Route: one entry of the API's table. Server, OpenAPI document and permissions come from it.
//
// A table is a vector of routes; a handler is one of the types below, named where it is put in:
//     Route{.path = "/v1/vms/{vm}", .handler = Read{[this](const Request& r) { return show(r); }}}
// where show() is a coroutine. The request outlives the coroutine.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/json.h"
#include "controlplane/async/async.h"
#include "controlplane/http/stream.h"
#include "controlplane/task/plan.h"

namespace stoa::http {

enum class Method : uint8_t { get, post, put, patch, erase };

[[nodiscard]] std::string_view to_string(Method method);  // "GET"

// Decoded; a name occurs more than once only where the route says `repeated`.
using Query = std::multimap<std::string, std::string, std::less<>>;

struct Request {
    Method method = Method::get;
    std::string path = {};                               // as it was sent, without the query
    std::map<std::string, std::string> parameters = {};  // of the path, decoded: {vm}
    Query query = {};
    Json body = {};                            // null: none
    std::string principal = {};                // "user/ID", "local/UID"
    std::optional<std::string> if_match = {};  // revision
    std::string idempotency_key = {};          // empty: none
    std::string peer = {};                     // "unix" or an address, for rate limits and audit
    std::string bearer = {};                   // the token it came with; empty: none

    // A parameter of the query, or an empty one.
    [[nodiscard]] std::string option(std::string_view name) const;
    [[nodiscard]] bool has(std::string_view name) const { return query.contains(name); }
    // A parameter of the path; the route's template has it.
    [[nodiscard]] const std::string& parameter(const std::string& name) const;
};

// One of `body`, `text` and `stream`; `body` null and the others empty: no content.
struct Response {
    uint32_t status = 200;
    Json body = {};
    std::map<std::string, std::string> headers = {};
    // Instead of `body`, if its type is not empty: text or bytes of another type.
    std::string text = {};
    std::string text_type = {};
    // Instead of both: bytes that are read while they are sent, as application/octet-stream.
    std::unique_ptr<ByteSource> stream = {};
    std::optional<uint64_t> stream_bytes = {};  // how many, if that is known
};

// Changes nothing.
struct Read {
    std::function<Async<Response>(const Request&)> run;
};
// Pure: the plan is shown (plan=true) or submitted. The answer to a submitted plan is 202 with
// {"task": ID, "target": "KIND/ID"}; to one without steps 200 or 201 and the target's record.
// Ids and the time come from `ids`, so that a plan can be made again.
struct Change {
    std::function<Result<task::Plan>(const Request&, task::Ids& ids)> plan;
};
// Changes something without a plan; only what is on the list of exemptions.
struct Direct {
    std::function<Async<Response>(const Request&)> run;
};
// As Direct, with a body of raw bytes that is read while it arrives.
struct Upload {
    std::function<Async<Response>(const Request&, ByteSource& body)> run = {};
    uint64_t bytes_max = uint64_t{1} << 30;
};
// A GET that becomes a WebSocket. When the coroutine ends the socket is closed: with what was said
// to close(), or 1000, or 1011 and the error. It is cancelled when the client leaves.
struct Live {
    std::function<Async<>(const Request&, Socket& socket)> run;
};

enum class HostScope : uint8_t { any, owner };

// Of the query. What is not listed is refused by name.
struct Parameter {
    std::string name = {};
    std::string summary = {};
    Json schema = {};  // {"type": "string"} if null
    bool repeated = false;
};

struct Route {
    Method method = Method::get;
    std::string path = {};        // "/v1/vms/{vm}/start"; a parameter is one whole segment
    std::string permission = {};  // "vm.start"; empty: anybody, without login
    // The resource whose path the permission is asked for: "/vm/{vm}"; ids and names are resolved
    // by the access check. Empty: "/".
    std::string resource = {};
    HostScope scope = HostScope::any;
    std::string summary = {};  // for the OpenAPI document and the CLI
    std::variant<Read, Change, Direct, Upload, Live> handler = {};
    // JSON schemas (base/schema.h) of body and answer; null: none. A request with a body for a
    // route that has no schema for it is refused.
    Json body_schema = {};
    Json answer_schema = {};
    std::vector<Parameter> query = {};
    bool body_optional = false;  // a verb's body may be left out
    // The handler itself shows only what its principal may see: who may read one item may ask.
    bool is_list = false;
    // Whoever is logged in may ask: the handler itself decides what about others he may.
    bool is_personal = false;
};

}  // namespace stoa::http
