#include "controlplane/http/openapi.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace stoa::http {

namespace {

constexpr std::string_view kProblemReference = "#/components/schemas/Problem";

std::string to_lower(std::string_view text) {
    std::string lower(text);
    for (char& c : lower) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return lower;
}

JsonObject text_schema() { return {{"type", "string"}}; }

Json content(std::string_view type, Json schema) {
    return JsonObject{{type, JsonObject{{"schema", std::move(schema)}}}};
}

JsonObject answer(std::string_view description, const Json& schema) {
    JsonObject object{{"description", description}};
    if (!schema.is_null()) object["content"] = content("application/json", schema);
    return object;
}

JsonObject parameter(std::string_view name, std::string_view place, std::string_view summary,
                     Json schema) {
    JsonObject object{{"name", name}, {"in", place}};
    if (place == "path") object["required"] = true;
    if (!summary.empty()) object["description"] = summary;
    object["schema"] = std::move(schema);
    return object;
}

// "GET /v1/vms/{vm}" is get_v1_vms_vm.
std::string operation_id(const Route& route) {
    std::string id = to_lower(to_string(route.method));
    for (const char c : route.path) {
        if (c == '{' || c == '}') continue;
        id += c == '/' || c == '.' || c == '-' ? '_' : c;
    }
    return id;
}

// "/v1/vms/{vm}": vms.
std::string tag_of(const Route& route) {
    constexpr std::string_view kBase = "/v1/";
    if (!route.path.starts_with(kBase)) return "system";
    const size_t end = std::min(route.path.find('/', kBase.size()), route.path.size());
    return route.path.substr(kBase.size(), end - kBase.size());
}

JsonArray parameters_of(const Route& route) {
    JsonArray parameters;
    for (size_t at = route.path.find('{'); at != std::string::npos;
         at = route.path.find('{', at + 1)) {
        const std::string name = route.path.substr(at + 1, route.path.find('}', at) - at - 1);
        parameters.push_back(parameter(name, "path", "id or name", text_schema()));
    }
    for (const Parameter& one : route.query) {
        Json schema = one.schema.is_null() ? Json(text_schema()) : one.schema;
        if (one.repeated) schema = JsonObject{{"type", "array"}, {"items", std::move(schema)}};
        parameters.push_back(parameter(one.name, "query", one.summary, std::move(schema)));
    }
    if (std::holds_alternative<Change>(route.handler)) {
        parameters.push_back(parameter("plan", "query", "true: show the plan, do nothing",
                                       JsonObject{{"type", "boolean"}}));
        parameters.push_back(parameter("plan_token", "query",
                                       "do exactly the plan that was shown with this token",
                                       text_schema()));
        parameters.push_back(parameter(
            "If-Match", "header", "the revision that is to be changed; else 412", text_schema()));
        parameters.push_back(parameter("Idempotency-Key", "header",
                                       "a word of yours: repeated within 24 h, it is done once",
                                       text_schema()));
    }
    if (std::holds_alternative<Live>(route.handler)) {
        parameters.push_back(parameter(
            "ticket", "query", "from the POST of the same path; browsers need one", text_schema()));
    }
    return parameters;
}

JsonObject responses_of(const Route& route) {
    JsonObject responses;
    if (std::holds_alternative<Change>(route.handler)) {
        responses["200"] = answer("done, or the plan", {});
        if (route.method == Method::post) responses["201"] = answer("made", route.answer_schema);
        const JsonObject task{
            {"type", "object"},
            {"required", JsonArray{"task", "target"}},
            {"properties", JsonObject{{"task", text_schema()}, {"target", text_schema()}}}};
        responses["202"] = answer("a task does it", task);
    } else if (std::holds_alternative<Live>(route.handler)) {
        responses["101"] = answer("a WebSocket (RFC 6455)", {});
    } else {
        responses["200"] = answer("the answer", route.answer_schema);
    }
    responses["default"] = JsonObject{
        {"description", "an error (RFC 9457)"},
        {"content", content("application/problem+json", JsonObject{{"$ref", kProblemReference}})}};
    return responses;
}

JsonObject operation_of(const Route& route) {
    JsonObject operation{{"operationId", operation_id(route)},
                         {"summary", route.summary},
                         {"tags", JsonArray{Json(tag_of(route))}}};
    JsonArray parameters = parameters_of(route);
    if (!parameters.empty()) operation["parameters"] = std::move(parameters);
    if (std::holds_alternative<Upload>(route.handler)) {
        operation["requestBody"] = JsonObject{
            {"required", true}, {"content", content("application/octet-stream", JsonObject{})}};
    } else if (!route.body_schema.is_null()) {
        operation["requestBody"] =
            JsonObject{{"required", !route.body_optional},
                       {"content", content("application/json", route.body_schema)}};
    }
    operation["responses"] = responses_of(route);
    if (route.permission.empty()) {
        operation["security"] = JsonArray{};
    } else {
        operation["x-stoa-permission"] = route.permission;
    }
    if (std::holds_alternative<Live>(route.handler)) operation["x-stoa-websocket"] = true;
    return operation;
}

JsonObject problem_schema() {
    const auto integer = JsonObject{{"type", "integer"}};
    return {{"type", "object"},
            {"required", JsonArray{"type", "title", "status", "detail", "code"}},
            {"properties", JsonObject{{"type", text_schema()},
                                      {"title", text_schema()},
                                      {"status", integer},
                                      {"detail", text_schema()},
                                      {"code", text_schema()},
                                      {"field", text_schema()},
                                      {"task", text_schema()}}}};
}

}  // namespace

Json openapi_document(std::span<const Route> routes, const std::string& version) {
    JsonObject paths;
    for (const Route& route : routes) {
        Json& path = paths[route.path];
        if (path.is_null()) path = JsonObject{};
        path.as_object()[to_lower(to_string(route.method))] = operation_of(route);
    }
    const JsonObject bearer{{"type", "http"}, {"scheme", "bearer"}};
    return JsonObject{
        {"openapi", "3.1.0"},
        {"info",
         JsonObject{{"title", "Stoa"},
                    {"version", version},
                    {"license", JsonObject{{"name", "Apache-2.0"}, {"identifier", "Apache-2.0"}}}}},
        {"security", JsonArray{JsonObject{{"bearer", JsonArray{}}}}},
        {"paths", std::move(paths)},
        {"components", JsonObject{{"securitySchemes", JsonObject{{"bearer", bearer}}},
                                  {"schemas", JsonObject{{"Problem", problem_schema()}}}}}};
}

}  // namespace stoa::http
