// Options in a query, by described structs (base/describe.h): ?now=true&keep_disks=true.
#pragma once

#include <concepts>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "base/describe.h"
#include "controlplane/http/route.h"

namespace stoa::http {

namespace query_detail {

template <class T>
std::string_view type_name() {
    if constexpr (std::same_as<T, bool>) {
        return "boolean";
    } else if constexpr (std::integral<T>) {
        return "integer";
    } else {
        return "string";
    }
}

// The text as the JSON that a field of this type wants.
Json value_of(std::string_view type, const std::string& text);

}  // namespace query_detail

// For Route::query. Fields: bool, integers, enums, Uuid, std::string, and optionals of these.
template <Described T>
std::vector<Parameter> parameters_of() {
    std::vector<Parameter> parameters;
    std::apply(
        [&]<class... Fields>(const Fields&... field) {
            const auto add = [&]<class Owner, class Member>(const Field<Owner, Member>& one) {
                using Value = typename decltype([] {
                    if constexpr (requires { typename Member::value_type; } &&
                                  !std::same_as<Member, std::string>) {
                        return std::type_identity<typename Member::value_type>{};
                    } else {
                        return std::type_identity<Member>{};
                    }
                }())::type;
                JsonObject schema{{"type", query_detail::type_name<Value>()}};
                if constexpr (NamedEnum<Value>) {
                    JsonArray words;
                    for (const std::string_view word : enum_names(Value{}))
                        words.emplace_back(word);
                    schema["enum"] = std::move(words);
                }
                parameters.push_back({.name = std::string(one.name),
                                      .summary = std::string(one.help),
                                      .schema = std::move(schema)});
            };
            (add(field), ...);
        },
        T::fields());
    return parameters;
}

// Errors: invalid_argument (as from_json). Parameters that T does not have are passed over: the
// router has refused what the route does not list.
template <Described T>
Result<T> options_of(const Request& request) {
    JsonObject object;
    for (const Parameter& parameter : parameters_of<T>()) {
        const auto found = request.query.find(parameter.name);
        if (found == request.query.end()) continue;
        const auto& type = parameter.schema.as_object().at("type").as_string();
        object[parameter.name] = query_detail::value_of(type, found->second);
    }
    T options;
    TRY(from_json(object, options));
    return options;
}

}  // namespace stoa::http
