#include "apps/stoa/context.h"

#include <algorithm>

#include "apps/stoa/body.h"
#include "apps/stoa/terminal.h"
#include "apps/stoa/units.h"
#include "apps/stoa/yaml.h"
#include "base/utf8.h"

namespace stoa::cli {

Result<Wishes> make_wishes(const Invocation& invocation) {
    Wishes wishes;
    const std::string output = invocation.option("--output");
    if (output == "json") wishes.output = Output::json;
    else if (output == "yaml") wishes.output = Output::yaml;
    else if (!output.empty() && output != "table") {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("--output: \"{}\" is none of table, json, yaml", output));
    }
    wishes.quiet = invocation.has("--quiet");
    wishes.plan = invocation.has("--plan");
    wishes.wait = !invocation.has("--no-wait");
    wishes.yes = invocation.has("--yes");
    // Some verbs give the guest a time of that name instead.
    const bool is_own = std::ranges::find(invocation.verb->options, "--timeout", &Option::name) !=
                        invocation.verb->options.end();
    if (invocation.has("--timeout") && !is_own) {
        const auto seconds = parse_seconds(invocation.option("--timeout"));
        if (!seconds.ok()) return seconds.error().with_context("--timeout");
        wishes.timeout = std::chrono::seconds(*seconds);
    }
    const auto filters = invocation.options.find("--filter");
    if (filters == invocation.options.end()) return wishes;
    for (const std::string& filter : filters->second) {
        const size_t equals = filter.find('=');
        if (equals == 0 || equals == std::string::npos) {
            return Error(ErrorCode::invalid_argument,
                         fmt::format("--filter: \"{}\" is not of the form FIELD=VALUE", filter));
        }
        wishes.filters.emplace_back(filter.substr(0, equals), filter.substr(equals + 1));
    }
    return wishes;
}

void Context::show_value(const Json& value) const {
    if (wishes_.output == Output::yaml) write_text(stdout, to_yaml(value));
    else print("{}\n", to_pretty_text(value));
}

const JsonArray& Context::records(std::string_view plural) {
    const auto found = records_.find(plural);
    if (found != records_.end()) return found->second;
    auto list = session_.list(fmt::format("/v1/{}", plural));
    return records_[std::string(plural)] = list.ok() ? *std::move(list) : JsonArray();
}

std::string Context::name_of(std::string_view plural, std::string_view id) {
    if (id.empty()) return {};
    for (const Json& record : records(plural)) {
        if (text_at(record, "id") != id) continue;
        return full_name(plural.substr(0, plural.size() - 1), record);
    }
    return to_plain_text(id);
}

std::string Context::full_name(std::string_view noun, const Json& record) {
    const std::string name = to_plain_text(text_at(record, "name"));
    if (noun == "volume" && name.find('/') == std::string::npos) {
        return fmt::format("{}/{}", name_of("pools", text_at(record, "spec.pool")), name);
    }
    if (noun != "snapshot" || name.find('/') != std::string::npos) return name;
    const std::string vm = text_at(record, "spec.vm");
    if (!vm.empty()) return fmt::format("{}/{}", name_of("vms", vm), name);
    const Json* parts = find_field(record, "spec.parts");
    if (parts == nullptr || !parts->is_array() || parts->get_array().empty()) return name;
    return fmt::format("{}/{}", name_of("volumes", text_at(parts->get_array()[0], "volume")), name);
}

Result<void> Context::confirm(std::string_view question) const {
    if (wishes_.yes || wishes_.plan) return {};
    if (!can_ask()) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("{} Nobody can be asked here: say --yes", question));
    }
    if (ask(question)) return {};
    return Error(ErrorCode::cancelled, "left as it is");
}

}  // namespace stoa::cli
