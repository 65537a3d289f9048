#include "controlplane/http/route.h"

#include "base/check.h"

namespace stoa::http {

std::string_view to_string(Method method) {
    switch (method) {
        case Method::get: return "GET";
        case Method::post: return "POST";
        case Method::put: return "PUT";
        case Method::patch: return "PATCH";
        case Method::erase: break;
    }
    return "DELETE";
}

std::string Request::option(std::string_view name) const {
    const auto found = query.find(name);
    return found == query.end() ? std::string() : found->second;
}

const std::string& Request::parameter(const std::string& name) const {
    const auto found = parameters.find(name);
    CHECK(found != parameters.end());
    return found->second;
}

}  // namespace stoa::http
