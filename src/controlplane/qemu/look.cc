#include "controlplane/qemu/look.h"

namespace stoa::qemu {

const Json* member(const Json* value, std::string_view name) {
    const JsonObject* object = value == nullptr ? nullptr : value->if_object();
    return object == nullptr ? nullptr : object->if_contains(name);
}

std::optional<std::string> text_at(const Json& value, std::string_view name) {
    const Json* found = member(&value, name);
    const auto* text = found == nullptr ? nullptr : found->if_string();
    if (text == nullptr) return std::nullopt;
    return std::string(*text);
}

std::optional<bool> bool_at(const Json& value, std::string_view name) {
    const Json* found = member(&value, name);
    const bool* flag = found == nullptr ? nullptr : found->if_bool();
    if (flag == nullptr) return std::nullopt;
    return *flag;
}

std::optional<int64_t> integer_at(const Json& value, std::string_view name) {
    const Json* found = member(&value, name);
    const int64_t* number = found == nullptr ? nullptr : found->if_int64();
    if (number == nullptr) return std::nullopt;
    return *number;
}

std::optional<uint64_t> unsigned_at(const Json& value, std::string_view name) {
    const Json* found = member(&value, name);
    if (found == nullptr) return std::nullopt;
    if (const uint64_t* number = found->if_uint64()) return *number;
    const int64_t* number = found->if_int64();
    if (number == nullptr || *number < 0) return std::nullopt;
    return static_cast<uint64_t>(*number);
}

const JsonArray& array_at(const Json& value, std::string_view name) {
    static const JsonArray kNone;
    const Json* found = member(&value, name);
    const JsonArray* array = found == nullptr ? nullptr : found->if_array();
    return array == nullptr ? kNone : *array;
}

}  // namespace stoa::qemu
