#include "apps/stoa/change.h"

#include "apps/stoa/body.h"
#include "apps/stoa/tasks.h"
#include "apps/stoa/text.h"
#include "apps/stoa/units.h"
#include "base/utf8.h"

namespace stoa::cli {

namespace {

std::string id_of(const std::string& target) {
    const size_t slash = target.rfind('/');
    return to_plain_text(slash == std::string::npos ? target : target.substr(slash + 1));
}

// What the target is now; null if it is gone.
Json record_of(Context& context, const std::string& target) {
    const Noun* noun = find_noun(target.substr(0, target.find('/')));
    if (noun == nullptr) return nullptr;
    auto record = context.session().get(item_target(noun->plural, id_of(target)));
    return record.ok() ? *std::move(record) : Json(nullptr);
}

}  // namespace

void show_plan(const Context& context, const Json& plan, const std::string& title) {
    if (context.wishes().output != Output::table) {
        context.show_value(plan);
        return;
    }
    if (context.wishes().quiet) {
        print("{}\n", to_plain_text(text_at(plan, "token")));
        return;
    }
    const Json* steps = find_field(plan, "steps");
    const JsonArray* array = steps != nullptr ? steps->if_array() : nullptr;
    if (array == nullptr || array->empty()) {
        print("{}: {}, at once\n", title, to_plain_text(text_at(plan, "verb")));
        return;
    }
    print("{}: {}, in {}\n", title, to_plain_text(text_at(plan, "verb")),
          count_of(array->size(), "step"));
    Table table({{.title = "", .is_number = true}, {.title = ""}});
    size_t number = 0;
    for (const Json& step : *array) {
        table.add({fmt::format("{}", ++number), to_plain_text(text_at(step, "text"))});
    }
    write_text(stdout, table.to_text(0, 2, false));
    const auto bytes = static_cast<uint64_t>(number_at(plan, "bytes"));
    const auto downtime_ms = static_cast<uint64_t>(number_at(plan, "downtime_ms"));
    if (bytes > 0) print("  writes     {}\n", format_size(bytes));
    if (downtime_ms > 0) print("  downtime   {:.1f} s\n", static_cast<double>(downtime_ms) / 1000);
    const Json* capacity = find_field(plan, "capacity_after");
    if (capacity != nullptr && capacity->is_object() && !capacity->get_object().empty()) {
        for (const auto& member : capacity->get_object()) {
            const auto left = static_cast<uint64_t>(number_at(*capacity, member.key()));
            print("  left then  {} of {}\n",
                  member.value().is_number() ? format_size(left) : to_text(member.value()),
                  to_plain_text(member.key()));
        }
    }
    print("Nothing was done.\n");
}

Result<std::optional<Submitted>> submit(Context& context, const Change& change) {
    std::string target = change.target;
    if (context.wishes().plan) {
        target += target.find('?') == std::string::npos ? "?plan=true" : "&plan=true";
    }
    TRY_ASSIGN(auto answer,
               context.session().send(change.method, target, change.body, change.if_match));
    if (context.wishes().plan) {
        show_plan(context, answer.body, change.title);
        return std::optional<Submitted>();
    }
    Submitted submitted;
    if (answer.status == 202) {
        submitted.task = to_plain_text(text_at(answer.body, "task"));
        submitted.target = to_plain_text(text_at(answer.body, "target"));
    } else if (answer.body.is_object()) {
        submitted.target = to_plain_text(
            fmt::format("{}/{}", text_at(answer.body, "kind"), text_at(answer.body, "id")));
    }
    submitted.answer = std::move(answer.body);
    return std::optional(std::move(submitted));
}

Result<void> finish(Context& context, const Change& change, const Submitted& submitted) {
    if (!submitted.task.empty() && !context.wishes().wait) {
        if (context.wishes().output != Output::table) context.show_value(submitted.answer);
        else if (context.wishes().quiet) print("{}\n", submitted.task);
        else print("{}: goes on as task {}\n", change.title, submitted.task);
        return {};
    }
    Json record = submitted.answer;
    if (!submitted.task.empty()) {
        TRY_ASSIGN(const Json task, wait_for_task(context, submitted.task, change.title));
        if (context.wishes().output != Output::table) {
            record = record_of(context, submitted.target);
            if (record.is_null()) record = task;
        }
    }
    if (context.wishes().output != Output::table) {
        context.show_value(record);
    } else if (context.wishes().quiet) {
        if (!submitted.target.empty()) print("{}\n", id_of(submitted.target));
    } else {
        print("{} {}\n", change.title, change.done);
    }
    return {};
}

Result<void> make_change(Context& context, const Change& change) {
    TRY_ASSIGN(const auto submitted, submit(context, change));
    return submitted ? finish(context, change, *submitted) : Result<void>();
}

}  // namespace stoa::cli
