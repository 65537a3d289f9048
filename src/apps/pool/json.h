// One JSON object, written field by field.
#pragma once

#include <fmt/format.h>

#include <concepts>
#include <string>
#include <string_view>
#include <vector>

namespace stoa::apps::pool {

class JsonObject {
public:
    template <std::integral T>
    JsonObject& add(std::string_view name, T value) {
        if constexpr (std::same_as<T, bool>) return raw(name, value ? "true" : "false");
        else return raw(name, fmt::format("{}", value));
    }
    JsonObject& add(std::string_view name, std::string_view value) {
        return raw(name, quote(value));
    }
    JsonObject& add(std::string_view name, const char* value) { return raw(name, quote(value)); }
    JsonObject& add(std::string_view name, const std::vector<std::string>& values) {
        std::string list = "[";
        for (const std::string& value : values) {
            if (list.size() > 1) list += ',';
            list += quote(value);
        }
        return raw(name, list + ']');
    }
    // `value` is JSON already.
    JsonObject& raw(std::string_view name, std::string_view value) {
        if (!text_.empty()) text_ += ',';
        text_ += quote(name);
        text_ += ':';
        text_ += value;
        return *this;
    }
    [[nodiscard]] std::string text() const { return '{' + text_ + '}'; }

    // Bytes that are not printable ASCII or valid in UTF-8 text become \u00xx.
    [[nodiscard]] static std::string quote(std::string_view value);

private:
    std::string text_;
};

// "[a,b]" of parts that are JSON already.
[[nodiscard]] std::string json_array(const std::vector<std::string>& parts);

}  // namespace stoa::apps::pool
