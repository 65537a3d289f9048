#include "apps/stoa/body.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <utility>

#include "apps/stoa/units.h"
#include "client/endpoint.h"

namespace stoa::cli {

namespace {

using Words = std::vector<std::string>;

Error wrong(std::string_view name, std::string_view text) {
    return {ErrorCode::invalid_argument, fmt::format("{}: {}", name, text)};
}

std::vector<std::string> split(std::string_view text, char at) {
    std::vector<std::string> parts;
    while (true) {
        const size_t end = text.find(at);
        parts.emplace_back(text.substr(0, end));
        if (end == std::string_view::npos) return parts;
        text.remove_prefix(end + 1);
    }
}

Result<uint64_t> to_number(std::string_view name, std::string_view text) {
    uint64_t number = 0;
    const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (text.empty() || error != std::errc{} || rest != text.data() + text.size()) {
        return wrong(name, fmt::format("\"{}\" is not a whole number", text));
    }
    return number;
}

// "KEY=VALUE" in two.
Result<std::pair<std::string, std::string>> to_pair(std::string_view name, std::string_view text,
                                                    std::string_view form) {
    const size_t equals = text.find('=');
    if (equals == 0 || equals == std::string_view::npos) {
        return wrong(name, fmt::format("\"{}\" is not of the form {}", text, form));
    }
    return std::pair(std::string(text.substr(0, equals)), std::string(text.substr(equals + 1)));
}

// "HEAD,key=value,..." with the keys that are known; `head` is a field, too.
Result<JsonObject> to_fields(std::string_view name, std::string_view text, std::string_view head,
                             const std::map<std::string_view, std::string_view>& known) {
    JsonObject object;
    const Words parts = split(text, ',');
    for (size_t i = 0; i < parts.size(); ++i) {
        const size_t equals = parts[i].find('=');
        if (i == 0 && equals == std::string::npos) {
            object[head] = parts[0];
            continue;
        }
        const auto found = known.find(std::string_view(parts[i]).substr(0, equals));
        if (found == known.end() || equals == std::string::npos) {
            std::string all;
            for (const auto& [key, field] : known) {
                all += fmt::format("{}{}=", all.empty() ? "" : ", ", key);
            }
            return wrong(name, fmt::format("\"{}\" is none of {}", parts[i], all));
        }
        object[found->second] = parts[i].substr(equals + 1);
    }
    return object;
}

// "data=1G", "data=1G,pool=fast,bus=scsi", "data,volume=fast/web", "cd,iso=debian".
Result<Json> to_disk(std::string_view name, std::string_view text) {
    static const std::map<std::string_view, std::string_view> kKnown{
        {"pool", "pool"}, {"volume", "volume"}, {"iso", "iso"}, {"bus", "bus"}, {"size", "size"}};
    const std::string first = split(text, ',')[0];
    std::string rest(text);
    const size_t equals = first.find('=');
    std::string size;
    if (equals != std::string::npos && !kKnown.contains(first.substr(0, equals))) {
        size = first.substr(equals + 1);
        rest.erase(equals, 1 + size.size());
    }
    TRY_ASSIGN(JsonObject disk, to_fields(name, rest, "name", kKnown));
    if (const Json* given = disk.if_contains("size")) {
        size = given->get_string();
        disk.erase("size");
    }
    if (!size.empty()) {
        const auto bytes = parse_size(size);
        if (!bytes.ok()) return wrong(name, bytes.error().message());
        disk["size_bytes"] = *bytes;
    }
    return Json(std::move(disk));
}

// "net0", "net0,address=10.77.3.5,mac=...,model=e1000,name=wan", "user".
Result<Json> to_nic(std::string_view name, std::string_view text) {
    static const std::map<std::string_view, std::string_view> kKnown{{"network", "network"},
                                                                     {"name", "name"},
                                                                     {"mac", "mac"},
                                                                     {"address", "address"},
                                                                     {"model", "model"}};
    TRY_ASSIGN(JsonObject nic, to_fields(name, text, "network", kKnown));
    return Json(std::move(nic));
}

// "8080:web1:80", "udp:53:dns1:53", "tcp:192.0.2.1:8080:web1:80".
Result<Json> to_forward(std::string_view name, std::string_view text) {
    Words parts = split(text, ':');
    JsonObject forward;
    if (parts[0] == "tcp" || parts[0] == "udp") {
        forward["protocol"] = parts[0];
        parts.erase(parts.begin());
    }
    if (parts.size() == 4) {
        forward["host_address"] = parts[0];
        parts.erase(parts.begin());
    }
    if (parts.size() != 3 || parts[1].empty()) {
        return wrong(name, fmt::format("\"{}\" is not of the form "
                                       "[tcp:|udp:][ADDRESS:]HOST_PORT:VM:GUEST_PORT",
                                       text));
    }
    TRY_ASSIGN(const uint64_t host_port, to_number(name, parts[0]));
    TRY_ASSIGN(const uint64_t guest_port, to_number(name, parts[2]));
    forward["host_port"] = host_port;
    forward["vm"] = parts[1];
    forward["guest_port"] = guest_port;
    return Json(std::move(forward));
}

// "operator", "operator@/vm/web1".
Json to_grant(std::string_view text) {
    const size_t at = text.find('@');
    JsonObject grant;
    grant["role"] = text.substr(0, at);
    if (at != std::string_view::npos) grant["path"] = text.substr(at + 1);
    return grant;
}

template <class Convert>
Result<Json> to_array(const Words& words, const Convert& convert) {
    JsonArray array;
    for (const std::string& word : words) {
        TRY_ASSIGN(Json item, convert(word));
        array.push_back(std::move(item));
    }
    return Json(std::move(array));
}

Result<Json> to_map(Take take, std::string_view name, const Words& words) {
    JsonObject object;
    for (const std::string& word : words) {
        if (take == Take::labels) {
            TRY_ASSIGN(const auto label, to_pair(name, word, "KEY=VALUE"));
            object[label.first] = label.second;
            continue;
        }
        TRY_ASSIGN(const auto growth, to_pair(name, word, "NAME=SIZE"));
        const auto bytes = parse_size(growth.second);
        if (!bytes.ok()) return wrong(name, bytes.error().message());
        object[growth.first] = *bytes;
    }
    return Json(std::move(object));
}

Result<Json> to_scalar(Take take, std::string_view name, const std::string& word) {
    if (take == Take::number) {
        TRY_ASSIGN(const uint64_t number, to_number(name, word));
        return Json(number);
    }
    if (take == Take::yes_no) {
        if (word == "yes" || word == "true" || word == "on") return Json(true);
        if (word == "no" || word == "false" || word == "off") return Json(false);
        return wrong(name, fmt::format("\"{}\" is neither yes nor no", word));
    }
    const auto number = take == Take::size ? parse_size(word) : parse_seconds(word);
    if (!number.ok()) return wrong(name, number.error().message());
    if (take != Take::expiry) return Json(*number);
    constexpr int64_t kNsPerSecond = 1'000'000'000;
    return Json(now_ns() + static_cast<int64_t>(*number) * kNsPerSecond);
}

}  // namespace

Result<Json> to_value(Take take, std::string_view name, const Words& words) {
    switch (take) {
        case Take::flag: return Json(true);
        case Take::refusal: return Json(false);
        case Take::text:
        case Take::file: return Json(words.back());
        case Take::number:
        case Take::size:
        case Take::seconds:
        case Take::expiry:
        case Take::yes_no: return to_scalar(take, name, words.back());
        case Take::list:
            return to_array(words, [](const auto& word) { return Result<Json>(Json(word)); });
        case Take::words: {
            JsonArray array;
            for (const std::string& part : split(words.back(), ',')) {
                if (!part.empty()) array.push_back(Json(part));
            }
            return Json(std::move(array));
        }
        case Take::labels:
        case Take::sizes: return to_map(take, name, words);
        case Take::disks:
            return to_array(words, [&](const auto& word) { return to_disk(name, word); });
        case Take::nics:
            return to_array(words, [&](const auto& word) { return to_nic(name, word); });
        case Take::forwards:
            return to_array(words, [&](const auto& word) { return to_forward(name, word); });
        case Take::grants:
            return to_array(words, [](const auto& w) { return Result<Json>(to_grant(w)); });
    }
    return Json(nullptr);
}

void put_field(JsonObject& object, std::string_view path, Json value) {
    const size_t dot = path.find('.');
    if (dot == std::string_view::npos) {
        object[path] = std::move(value);
        return;
    }
    Json& next = object[path.substr(0, dot)];
    if (!next.is_object()) next = JsonObject();
    put_field(next.get_object(), path.substr(dot + 1), std::move(value));
}

const Json* find_field(const Json& value, std::string_view path) {
    const Json* at = &value;
    while (!path.empty()) {
        const size_t dot = std::min(path.find('.'), path.size());
        const JsonObject* object = at->if_object();
        at = object != nullptr ? object->if_contains(path.substr(0, dot)) : nullptr;
        if (at == nullptr) return nullptr;
        path.remove_prefix(std::min(dot + 1, path.size()));
    }
    return at;
}

std::string text_at(const Json& value, std::string_view path) {
    const Json* found = find_field(value, path);
    if (found == nullptr || found->is_null()) return {};
    if (found->is_string()) return std::string(found->get_string());
    return to_text(*found);
}

int64_t number_at(const Json& value, std::string_view path) {
    const Json* found = find_field(value, path);
    if (found == nullptr) return 0;
    if (found->is_int64()) return found->get_int64();
    if (found->is_uint64()) return static_cast<int64_t>(found->get_uint64());
    return found->is_double() ? static_cast<int64_t>(found->get_double()) : 0;
}

Result<Body> make_body(const Invocation& invocation) {
    Body body;
    const auto put = [&](std::string_view field, const Json& value) {
        if (!field.starts_with('?')) {
            put_field(body.fields, field, value);
            return;
        }
        const std::string text =
            value.is_string() ? std::string(value.get_string()) : to_text(value);
        body.query += fmt::format("{}{}={}", body.query.empty() ? "" : "&", field.substr(1),
                                  client::percent_encode(text));
    };
    for (const Argument& argument : invocation.verb->arguments) {
        const auto& words = invocation.all(argument.name);
        if (argument.field.empty() || words.empty()) continue;
        const Take take = argument.is_many ? Take::list : Take::text;
        TRY_ASSIGN(const Json value, to_value(take, argument.name, words));
        put(argument.field, value);
    }
    for (const Option& option : invocation.verb->options) {
        const auto found = invocation.options.find(option.name);
        if (option.field.empty() || found == invocation.options.end()) continue;
        TRY_ASSIGN(const Json value, to_value(option.take, option.name, found->second));
        put(option.field, value);
    }
    return body;
}

}  // namespace stoa::cli
