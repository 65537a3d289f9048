#include "apps/stoa/generic.h"

#include <algorithm>

#include "apps/stoa/body.h"
#include "apps/stoa/change.h"
#include "apps/stoa/show.h"
#include "base/utf8.h"
#include "client/endpoint.h"

namespace stoa::cli {

namespace {

std::string with_query(std::string target, const std::string& query) {
    if (query.empty()) return target;
    target += target.find('?') == std::string::npos ? '?' : '&';
    return target + query;
}

// A word of a record that a filter is about: "state" is where each kind has it.
std::string filtered_text(const Json& record, std::string_view field) {
    for (const std::string_view prefix : {"", "status.", "spec.", "labels."}) {
        const std::string text = text_at(record, fmt::format("{}{}", prefix, field));
        if (!text.empty()) return text;
    }
    return {};
}

bool passes(Context& context, std::string_view noun, const Json& record) {
    for (const auto& [field, value] : context.wishes().filters) {
        const std::string found =
            field == "name" ? context.full_name(noun, record) : filtered_text(record, field);
        const bool is_prefix = value.ends_with('*');
        const std::string_view wanted = std::string_view(value).substr(0, value.size() - is_prefix);
        if (is_prefix ? !found.starts_with(wanted) : found != wanted) return false;
    }
    return true;
}

// "fast/data" is volume "data" of pool "fast".
void split_volume(const Verb& verb, JsonObject& fields) {
    const Json* name = fields.if_contains("name");
    if (verb.noun != "volume" || name == nullptr || !name->is_string()) return;
    const std::string text(name->get_string());
    const size_t slash = text.find('/');
    if (slash == std::string::npos) return;
    fields["pool"] = text.substr(0, slash);
    fields["name"] = text.substr(slash + 1);
}

// Does `act` for each; goes on after errors that are about one of them. The exit code is that of
// the first one.
template <class Act>
Result<int> for_each_name(Context& context, const std::vector<std::string>& names, const Act& act) {
    int exit_code = kDone;
    for (const std::string& name : names) {
        const Result<void> result = act(name);
        if (result.ok()) continue;
        const int code = context.session().exit_code(result.error());
        if (names.size() == 1 || code == kNoDaemon || code == kInterrupted) return result.error();
        print_error("stoa: {}\n", result.error().message());
        if (exit_code == kDone) exit_code = code;
    }
    return exit_code;
}

}  // namespace

Result<int> run_list(Context& context, const Invocation& invocation) {
    const Noun* noun = find_noun(invocation.verb->noun);
    std::string target = fmt::format("/v1/{}", noun->plural);
    const auto labels = invocation.options.find("--label");
    if (labels != invocation.options.end()) {
        for (const std::string& label : labels->second) {
            target = with_query(target, "label=" + client::percent_encode(label));
        }
    }
    TRY_ASSIGN(const Body body, make_body(invocation));
    TRY_ASSIGN(JsonArray all, context.session().list(with_query(target, body.query)));
    JsonArray items;
    for (Json& record : all) {
        if (passes(context, noun->name, record)) items.push_back(std::move(record));
    }
    show_list(context, noun->name, items);
    return kDone;
}

Result<int> run_show(Context& context, const Invocation& invocation) {
    const Noun* noun = find_noun(invocation.verb->noun);
    JsonArray records;
    for (const std::string& name : invocation.all(invocation.verb->arguments[0].name)) {
        TRY_ASSIGN(Json record, context.session().get(item_target(noun->plural, name)));
        records.push_back(std::move(record));
    }
    show_records(context, noun->name, records);
    return kDone;
}

Result<int> run_create(Context& context, const Invocation& invocation) {
    const Noun* noun = find_noun(invocation.verb->noun);
    TRY_ASSIGN(Body body, make_body(invocation));
    split_volume(*invocation.verb, body.fields);
    Change change;
    change.target = with_query(fmt::format("/v1/{}", noun->plural), body.query);
    change.body = std::move(body.fields);
    change.title =
        fmt::format("{} {}", noun->name,
                    to_plain_text(invocation.argument(invocation.verb->arguments[0].name)));
    change.done = "created";
    TRY(make_change(context, change));
    return kDone;
}

Result<int> run_set(Context& context, const Invocation& invocation) {
    const Noun* noun = find_noun(invocation.verb->noun);
    TRY_ASSIGN(const Body body, make_body(invocation));
    if (body.fields.empty()) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("nothing to set: see stoa {} set --help", noun->name));
    }
    return for_each_name(context, invocation.all("NAME"), [&](const std::string& name) {
        Change change;
        change.method = client::Method::patch;
        change.target = item_target(noun->plural, name);
        change.body = body.fields;
        change.title = fmt::format("{} {}", noun->name, to_plain_text(name));
        change.done = "changed";
        return make_change(context, change);
    });
}

Result<int> run_delete(Context& context, const Invocation& invocation) {
    const Noun* noun = find_noun(invocation.verb->noun);
    TRY_ASSIGN(const Body body, make_body(invocation));
    const auto& names = invocation.all("NAME");
    std::string all;
    for (const std::string& name : names) {
        all += fmt::format("{}{}", all.empty() ? "" : ", ", to_plain_text(name));
    }
    TRY(context.confirm(fmt::format("Delete {} {}?", noun->name, all)));
    return for_each_name(context, names, [&](const std::string& name) {
        Change change;
        change.method = client::Method::erase;
        change.target = with_query(item_target(noun->plural, name), body.query);
        change.title = fmt::format("{} {}", noun->name, to_plain_text(name));
        change.done = "deleted";
        return make_change(context, change);
    });
}

Result<int> run_action(Context& context, const Invocation& invocation) {
    const Verb& verb = *invocation.verb;
    const Noun* noun = find_noun(verb.noun);
    TRY_ASSIGN(const Body body, make_body(invocation));
    const auto& names = invocation.all(verb.arguments[0].name);
    if (!verb.danger.empty()) {
        std::string all;
        for (const std::string& name : names) {
            all += fmt::format("{}{}", all.empty() ? "" : ", ", to_plain_text(name));
        }
        TRY(context.confirm(fmt::format("{} {} {}?", verb.danger, noun->name, all)));
    }
    std::vector<std::pair<Change, Submitted>> begun;
    auto code = for_each_name(context, names, [&](const std::string& name) -> Result<void> {
        Change change;
        change.target =
            with_query(item_target(noun->plural, name) + std::string(verb.path), body.query);
        if (!body.fields.empty()) change.body = body.fields;
        change.title = fmt::format("{} {}", noun->name, to_plain_text(name));
        change.done = verb.done;
        TRY_ASSIGN(auto submitted, submit(context, change));
        if (submitted) begun.emplace_back(std::move(change), *std::move(submitted));
        return {};
    });
    if (!code.ok()) return code;
    for (const auto& [change, submitted] : begun) {
        const auto result = finish(context, change, submitted);
        if (result.ok()) continue;
        const int failed = context.session().exit_code(result.error());
        if (begun.size() == 1 || failed == kInterrupted) return result.error();
        print_error("stoa: {}\n", result.error().message());
        if (*code == kDone) code = failed;
    }
    return code;
}

}  // namespace stoa::cli
