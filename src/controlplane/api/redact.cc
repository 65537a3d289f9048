#include "controlplane/api/redact.h"

namespace stoa::api {

namespace {

constexpr std::string_view kHidden = "***";

bool is_secret(const JsonObject& schema) {
    const Json* mark = schema.if_contains("writeOnly");
    return mark != nullptr && mark->is_bool() && mark->get_bool();
}

Json redact_object(const JsonObject& object, const JsonObject& schema) {
    const Json* properties = schema.if_contains("properties");
    const Json* others = schema.if_contains("additionalProperties");
    JsonObject clean;
    for (const auto& member : object) {
        const Json* known = properties != nullptr && properties->is_object()
                                ? properties->get_object().if_contains(member.key())
                                : nullptr;
        if (known == nullptr && others != nullptr && others->is_object()) known = others;
        clean[member.key()] = known == nullptr ? Json(kHidden) : redact(member.value(), *known);
    }
    return clean;
}

}  // namespace

Json redact(const Json& value, const Json& schema) {
    const JsonObject* object = schema.if_object();
    if (object == nullptr || is_secret(*object)) return value.is_null() ? value : Json(kHidden);
    if (value.is_object() && !object->empty()) return redact_object(value.get_object(), *object);
    if (value.is_array()) {
        const Json* items = object->if_contains("items");
        if (items == nullptr) return object->empty() ? value : Json(kHidden);
        JsonArray clean;
        for (const Json& item : value.get_array()) clean.push_back(redact(item, *items));
        return clean;
    }
    return value;
}

}  // namespace stoa::api
