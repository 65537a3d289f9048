// JSON schemas (JSON Schema 2020-12, as OpenAPI 3.1 takes them) of described structs (describe.h):
// what from_json() accepts and to_json() gives.
//
//     bool, numbers, strings   with their ranges; Uuid: format "uuid"
//     enum                     its words
//     struct                   its fields, the required ones, nothing else; an optional field shows
//                              the value that it has when it is missing
//     secret()                 writeOnly
//     optional                 the schema of what it holds; never required. Null is accepted too
//     vector, map, Json        array, object, anything
//
// Everything stands in place: there are no references.
#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "base/describe.h"
#include "base/json.h"
#include "base/uuid.h"

namespace stoa {

namespace schema_detail {

// All are schemas.
[[nodiscard]] JsonObject of_type(std::string_view type, std::string_view format = "");
[[nodiscard]] JsonObject integer(int64_t low, uint64_t high, std::string_view format);
[[nodiscard]] JsonObject words(std::span<const std::string_view> names);
[[nodiscard]] JsonObject array_of(JsonObject items);
[[nodiscard]] JsonObject map_of(JsonObject values);

// A struct's, put together field by field.
class Object {
public:
    // `default_value`: null if there is none to show.
    void add(std::string_view name, JsonObject schema, std::string_view help, bool is_required,
             bool is_secret, Json default_value);
    [[nodiscard]] JsonObject finish() &&;

private:
    JsonObject properties_;
    JsonArray required_;
};

// Whether the value it has when it is missing is worth to be shown.
template <class T>
constexpr bool kHasPlainDefault = std::is_arithmetic_v<T> || NamedEnum<T>;

template <class T>
JsonObject schema_of();

template <Described T>
JsonObject struct_schema() {
    Object object;
    const T defaults{};
    const auto add = [&](const auto& field) {
        using Member = std::remove_cvref_t<decltype(defaults.*field.member)>;
        Json default_value;
        if constexpr (kHasPlainDefault<Member>) {
            if (!field.is_required) default_value = to_json(defaults.*field.member);
        }
        object.add(field.name, schema_of<Member>(), field.help, field.is_required, field.is_secret,
                   std::move(default_value));
    };
    std::apply([&](const auto&... field) { (add(field), ...); }, T::fields());
    return std::move(object).finish();
}

template <class T>
JsonObject schema_of() {
    using namespace describe_detail;
    if constexpr (Described<T>) {
        return struct_schema<T>();
    } else if constexpr (NamedEnum<T>) {
        return words(enum_names(T{}));
    } else if constexpr (std::same_as<T, Json>) {
        return {};
    } else if constexpr (std::same_as<T, bool>) {
        return of_type("boolean");
    } else if constexpr (std::same_as<T, Uuid>) {
        return of_type("string", "uuid");
    } else if constexpr (std::same_as<T, std::string>) {
        return of_type("string");
    } else if constexpr (std::integral<T>) {
        constexpr std::string_view kFormat = std::unsigned_integral<T>
                                                 ? (sizeof(T) > 4 ? "uint64" : "uint32")
                                                 : (sizeof(T) > 4 ? "int64" : "int32");
        return integer(std::numeric_limits<T>::min(), std::numeric_limits<T>::max(), kFormat);
    } else if constexpr (std::same_as<T, double>) {
        return of_type("number", "double");
    } else if constexpr (kIsOptional<T>) {
        return schema_of<typename T::value_type>();
    } else if constexpr (kIsVector<T>) {
        return array_of(schema_of<typename T::value_type>());
    } else {
        static_assert(kIsMap<T>, "this type cannot be described");
        return map_of(schema_of<typename T::mapped_type>());
    }
}

}  // namespace schema_detail

template <class T>
[[nodiscard]] Json json_schema() {
    return schema_detail::schema_of<T>();
}

}  // namespace stoa
