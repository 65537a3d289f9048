// Described structs: a struct lists its fields once, and JSON in both directions follows.
//
//     struct Rename {
//         Uuid volume;
//         std::string name;
//         static constexpr auto fields() {
//             return std::tuple(required("volume", &Rename::volume, "which"),
//                               required("name", &Rename::name, "the new one"));
//         }
//     };
//
// Field types: bool, (u)int32/64, double, std::string, Uuid, enums with enum_names(), described
// structs, Json (anything), and std::vector, std::optional and std::map<std::string, T> of these.
#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/json.h"
#include "base/result.h"
#include "base/uuid.h"

namespace stoa {

template <class Owner, class T>
struct Field {
    std::string_view name;
    T Owner::* member;
    std::string_view help;
    bool is_required;
    bool is_secret = false;
};

// Missing is an error.
template <class Owner, class T>
constexpr Field<Owner, T> required(std::string_view name, T Owner::* member,
                                   std::string_view help) {
    return {name, member, help, true};
}
// Missing keeps what the struct's initializer says.
template <class Owner, class T>
constexpr Field<Owner, T> optional(std::string_view name, T Owner::* member,
                                   std::string_view help) {
    return {name, member, help, false};
}

template <class T>
concept Described = requires { T::fields(); };

// Text that is written and never shown: for_each_secret() finds it. Missing means empty.
template <class Owner>
constexpr Field<Owner, std::string> secret(std::string_view name, std::string Owner::* member,
                                           std::string_view help) {
    return {name, member, help, false, true};
}

// An enum's words, in the order of its values from 0 on; found by argument-dependent look-up:
//     constexpr std::array<std::string_view, 2> enum_names(Access) { return {"read", "write"}; }
template <class T>
concept NamedEnum = std::is_enum_v<T> && requires(T value) { enum_names(value); };

namespace describe_detail {

Error wrong(std::string_view path, std::string_view expected, const Json& found);
Error unknown_field(std::string_view path, std::string_view name, std::string_view known);
Error missing_field(std::string_view path, std::string_view name);
Error unknown_word(std::string_view path, std::string_view word,
                   std::span<const std::string_view> known);
Result<int64_t> read_signed(const Json& from, int64_t low, int64_t high, std::string_view path);
Result<uint64_t> read_unsigned(const Json& from, uint64_t high, std::string_view path);
Result<double> read_double(const Json& from, std::string_view path);
Result<std::string> read_string(const Json& from, std::string_view path);
std::string join(std::string_view path, std::string_view name);

template <class T>
constexpr bool kIsVector = false;
template <class T>
constexpr bool kIsVector<std::vector<T>> = true;
template <class T>
constexpr bool kIsOptional = false;
template <class T>
constexpr bool kIsOptional<std::optional<T>> = true;
template <class T>
constexpr bool kIsMap = false;
template <class T>
constexpr bool kIsMap<std::map<std::string, T>> = true;

}  // namespace describe_detail

template <class T>
Json to_json(const T& value);
// `path` is put before the names of fields in messages. Errors: invalid_argument.
template <class T>
Result<void> from_json(const Json& from, T& into, std::string_view path = "");

template <Described T>
Json struct_to_json(const T& value) {
    JsonObject object;
    std::apply(
        [&](const auto&... field) {
            const auto put = [&](const auto& one) {
                const auto& member = value.*one.member;
                using Member = std::remove_cvref_t<decltype(member)>;
                if constexpr (describe_detail::kIsOptional<Member>) {
                    if (member) object[one.name] = to_json(*member);
                } else {
                    object[one.name] = to_json(member);
                }
            };
            (put(field), ...);
        },
        T::fields());
    return object;
}

template <Described T>
Result<void> struct_from_json(const Json& from, T& into, std::string_view path) {
    const JsonObject* object = from.if_object();
    if (object == nullptr) return describe_detail::wrong(path, "an object", from);
    size_t used = 0;
    Result<void> result;
    std::string known;
    const auto take = [&](const auto& field) {
        known += known.empty() ? "" : ", ";
        known += field.name;
        const Json* value = object->if_contains(field.name);
        if (value != nullptr) ++used;
        if (!result.ok()) return;
        if (value != nullptr) {
            result = from_json(*value, into.*field.member, describe_detail::join(path, field.name));
        } else if (field.is_required) {
            result = describe_detail::missing_field(path, field.name);
        }
    };
    std::apply([&](const auto&... field) { (take(field), ...); }, T::fields());
    if (used < object->size()) {
        for (const auto& member : *object) {
            const auto is_known = [&](const auto& field) { return field.name == member.key(); };
            const bool found = std::apply(
                [&](const auto&... field) { return (is_known(field) || ...); }, T::fields());
            if (!found) return describe_detail::unknown_field(path, member.key(), known);
        }
    }
    return result;
}

template <class T>
Json to_json(const T& value) {
    using namespace describe_detail;
    if constexpr (Described<T>) {
        return struct_to_json(value);
    } else if constexpr (NamedEnum<T>) {
        return Json(enum_names(value).at(static_cast<size_t>(value)));
    } else if constexpr (std::same_as<T, Uuid>) {
        return Json(value.to_string());
    } else if constexpr (kIsOptional<T>) {
        return value ? to_json(*value) : Json(nullptr);
    } else if constexpr (kIsVector<T>) {
        JsonArray array;
        array.reserve(value.size());
        for (const auto& item : value) array.push_back(to_json(item));
        return array;
    } else if constexpr (kIsMap<T>) {
        JsonObject object;
        for (const auto& [key, item] : value) object[key] = to_json(item);
        return object;
    } else {
        return Json(value);
    }
}

template <class T>
Result<void> from_json(const Json& from, T& into, std::string_view path) {
    using namespace describe_detail;
    if constexpr (Described<T>) {
        return struct_from_json(from, into, path);
    } else if constexpr (NamedEnum<T>) {
        TRY_ASSIGN(const std::string word, read_string(from, path));
        const auto names = enum_names(T{});
        for (size_t i = 0; i < names.size(); ++i) {
            if (names.at(i) == word) {
                into = static_cast<T>(i);
                return {};
            }
        }
        return unknown_word(path, word, names);
    } else if constexpr (std::same_as<T, Json>) {
        into = from;
        return {};
    } else if constexpr (std::same_as<T, bool>) {
        if (!from.is_bool()) return wrong(path, "true or false", from);
        into = from.get_bool();
        return {};
    } else if constexpr (std::same_as<T, Uuid>) {
        TRY_ASSIGN(const std::string text, read_string(from, path));
        const Result<Uuid> parsed = Uuid::parse(text);
        if (!parsed.ok()) return wrong(path, "a UUID", from);
        if (parsed->is_nil()) return wrong(path, "a UUID other than the nil one", from);
        into = *parsed;
        return {};
    } else if constexpr (std::same_as<T, std::string>) {
        TRY_ASSIGN(into, read_string(from, path));
        return {};
    } else if constexpr (std::unsigned_integral<T>) {
        TRY_ASSIGN(const uint64_t number, read_unsigned(from, std::numeric_limits<T>::max(), path));
        into = static_cast<T>(number);
        return {};
    } else if constexpr (std::signed_integral<T>) {
        TRY_ASSIGN(const int64_t number, read_signed(from, std::numeric_limits<T>::min(),
                                                     std::numeric_limits<T>::max(), path));
        into = static_cast<T>(number);
        return {};
    } else if constexpr (std::same_as<T, double>) {
        TRY_ASSIGN(into, read_double(from, path));
        return {};
    } else if constexpr (kIsOptional<T>) {
        if (from.is_null()) {
            into.reset();
            return {};
        }
        return from_json(from, into.emplace(), path);
    } else if constexpr (kIsVector<T>) {
        const JsonArray* array = from.if_array();
        if (array == nullptr) return wrong(path, "an array", from);
        into.clear();
        into.reserve(array->size());
        for (const Json& item : *array) {
            TRY(from_json(item, into.emplace_back(), fmt::format("{}[{}]", path, into.size())));
        }
        return {};
    } else {
        static_assert(kIsMap<T>, "this type cannot be described");
        const JsonObject* object = from.if_object();
        if (object == nullptr) return wrong(path, "an object", from);
        into.clear();
        for (const auto& member : *object) {
            TRY(from_json(member.value(), into[std::string(member.key())],
                          join(path, member.key())));
        }
        return {};
    }
}

// Calls `visit(std::string&)` for each secret in a described struct and in what it holds.
template <class T, class Visit>
void for_each_secret(T& value, const Visit& visit) {
    using namespace describe_detail;
    using Plain = std::remove_const_t<T>;
    if constexpr (Described<Plain>) {
        std::apply(
            [&](const auto&... field) {
                const auto enter = [&](const auto& one) {
                    auto& member = value.*one.member;
                    if constexpr (std::same_as<std::remove_cvref_t<decltype(member)>,
                                               std::string>) {
                        if (one.is_secret) visit(member);
                    } else {
                        for_each_secret(member, visit);
                    }
                };
                (enter(field), ...);
            },
            Plain::fields());
    } else if constexpr (kIsOptional<Plain>) {
        if (value) for_each_secret(*value, visit);
    } else if constexpr (kIsVector<Plain>) {
        for (auto& item : value) for_each_secret(item, visit);
    } else if constexpr (kIsMap<Plain>) {
        for (auto& [key, item] : value) for_each_secret(item, visit);
    }
}

}  // namespace stoa
