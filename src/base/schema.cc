#include "base/schema.h"

namespace stoa::schema_detail {

JsonObject of_type(std::string_view type, std::string_view format) {
    JsonObject schema{{"type", type}};
    if (!format.empty()) schema["format"] = format;
    return schema;
}

JsonObject integer(int64_t low, uint64_t high, std::string_view format) {
    JsonObject schema = of_type("integer", format);
    schema["minimum"] = low;
    schema["maximum"] = high;
    return schema;
}

JsonObject words(std::span<const std::string_view> names) {
    JsonObject schema = of_type("string");
    JsonArray all;
    for (const std::string_view name : names) all.emplace_back(name);
    schema["enum"] = std::move(all);
    return schema;
}

JsonObject array_of(JsonObject items) {
    JsonObject schema = of_type("array");
    schema["items"] = std::move(items);
    return schema;
}

JsonObject map_of(JsonObject values) {
    JsonObject schema = of_type("object");
    schema["additionalProperties"] = std::move(values);
    return schema;
}

void Object::add(std::string_view name, JsonObject schema, std::string_view help, bool is_required,
                 bool is_secret, Json default_value) {
    if (!help.empty()) schema["description"] = help;
    if (is_secret) schema["writeOnly"] = true;
    if (!default_value.is_null()) schema["default"] = std::move(default_value);
    properties_[name] = std::move(schema);
    if (is_required) required_.emplace_back(name);
}

JsonObject Object::finish() && {
    JsonObject schema = of_type("object");
    schema["properties"] = std::move(properties_);
    if (!required_.empty()) schema["required"] = std::move(required_);
    schema["additionalProperties"] = false;
    return schema;
}

}  // namespace stoa::schema_detail
