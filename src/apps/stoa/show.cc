#include "apps/stoa/show.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <map>

#include "apps/stoa/body.h"
#include "apps/stoa/columns.h"
#include "apps/stoa/terminal.h"
#include "apps/stoa/text.h"
#include "apps/stoa/units.h"
#include "base/utf8.h"

namespace stoa::cli {

namespace {

// Fields that hold ids, and of what.
constexpr std::array<std::pair<std::string_view, std::string_view>, 9> kReferences{
    {{"host", "hosts"},
     {"pool", "pools"},
     {"volume", "volumes"},
     {"vm", "vms"},
     {"network", "networks"},
     {"image", "images"},
     {"user", "users"},
     {"source", "snapshots"},
     {"snapshot", "snapshots"}}};

bool is_empty(const Json& value) {
    if (value.is_null()) return true;
    if (value.is_string()) return value.get_string().empty();
    if (value.is_array()) return value.get_array().empty();
    if (value.is_object()) return value.get_object().empty();
    if (value.is_bool()) return !value.get_bool();
    if (value.is_int64()) return value.get_int64() == 0;
    return value.is_uint64() && value.get_uint64() == 0;
}

// "memory_bytes" without its unit, words apart.
std::string title_of(std::string_view field) {
    for (const std::string_view unit : {"_bytes", "_ns", "_seconds"}) {
        if (field.ends_with(unit)) field.remove_suffix(unit.size());
        const std::string minimum = fmt::format("{}_min", unit);
        const std::string maximum = fmt::format("{}_max", unit);
        if (field.ends_with(minimum))
            return title_of(field.substr(0, field.size() - minimum.size())) + " min";
        if (field.ends_with(maximum))
            return title_of(field.substr(0, field.size() - maximum.size())) + " max";
    }
    std::string title = to_plain_text(field);
    std::ranges::replace(title, '_', ' ');
    return title;
}

std::string time_text(int64_t time_ns) {
    constexpr int64_t kNsPerSecond = 1'000'000'000;
    const int64_t seconds = (now_ns() - time_ns) / kNsPerSecond;
    const auto far = format_duration(static_cast<uint64_t>(std::abs(seconds)));
    return seconds >= 0 ? fmt::format("{} ({} ago)", format_time(time_ns), far)
                        : fmt::format("{} (in {})", format_time(time_ns), far);
}

std::string scalar_text(Context& context, std::string_view field, const Json& value) {
    if (value.is_bool()) return value.get_bool() ? "yes" : "no";
    if (value.is_string()) {
        const std::string text(value.get_string());
        const auto found = std::ranges::find(kReferences, field,
                                             [](const auto& reference) { return reference.first; });
        const bool is_id = text.size() == 36 && text[8] == '-' && text[13] == '-';
        if (found != kReferences.end() && is_id) return context.name_of(found->second, text);
        return to_plain_text(text);
    }
    const bool is_whole = value.is_int64() || value.is_uint64();
    if (value.is_double()) return fmt::format("{:.6g}", value.get_double());
    if (!is_whole) return to_text(value);
    const Json holder = JsonObject{{"n", value}};
    const int64_t number = number_at(holder, "n");
    if (field.find("_bytes") != std::string_view::npos && number >= 0) {
        return format_size(static_cast<uint64_t>(number));
    }
    if (field.ends_with("_ns") && number > 0) return time_text(number);
    if (field.ends_with("_seconds") && number >= 0) {
        return format_duration(static_cast<uint64_t>(number));
    }
    return to_text(value);
}

bool is_scalar(const Json& value) { return !value.is_object() && !value.is_array(); }

// Objects of one array as a small table; a column for each field that any of them has.
std::string describe_rows(Context& context, const JsonArray& rows, size_t indent) {
    std::vector<std::string> fields;
    for (const Json& row : rows) {
        const JsonObject* object = row.if_object();
        if (object == nullptr) continue;
        for (const auto& member : *object) {
            const std::string name(member.key());
            if (is_scalar(member.value()) && !is_empty(member.value()) &&
                std::ranges::find(fields, name) == fields.end()) {
                fields.push_back(name);
            }
        }
    }
    std::vector<Table::Column> columns;
    for (const std::string& field : fields) {
        std::string title = title_of(field);
        std::ranges::transform(title, title.begin(),
                               [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
        columns.push_back({.title = title});
    }
    Table table(std::move(columns));
    for (const Json& row : rows) {
        std::vector<std::string> cells;
        for (const std::string& field : fields) {
            const Json* value = row.is_object() ? row.get_object().if_contains(field) : nullptr;
            const bool has = value != nullptr && is_scalar(*value) && !is_empty(*value);
            cells.push_back(has ? scalar_text(context, field, *value) : "-");
        }
        table.add(std::move(cells));
    }
    return table.to_text(output_width(), indent);
}

std::string describe_array(Context& context, std::string_view field, const JsonArray& array,
                           size_t indent, size_t width) {
    const std::string title = title_of(field);
    if (array[0].is_object()) {
        return fmt::format("{:{}}{}\n{}", "", indent, title,
                           describe_rows(context, array, indent + 2));
    }
    std::string text;
    for (const Json& item : array) {
        const std::string line = scalar_text(context, field, item);
        text += fmt::format("{:{}}{:<{}}{}\n", "", indent, text.empty() ? title : "", width, line);
    }
    return text;
}

size_t title_width(const JsonObject& object) {
    size_t width = 0;
    for (const auto& member : object) {
        if (!is_empty(member.value()) && !member.value().is_object()) {
            width = std::max(width, width_of(title_of(member.key())));
        }
    }
    return width + 2;
}

// State first: it is what one looks for.
JsonObject without_noise(const JsonObject& status) {
    JsonObject kept;
    for (const char* first : {"state", "reason"}) {
        if (const Json* value = status.if_contains(first)) kept[first] = *value;
    }
    for (const auto& member : status) {
        if (!kept.contains(member.key())) kept[member.key()] = member.value();
    }
    // The specification it was started with, and how its process is told from others.
    if (Json* launch = kept.if_contains("launch"); launch != nullptr && launch->is_object()) {
        for (const char* name : {"spec", "boot_id", "start_ticks"})
            launch->get_object().erase(name);
    }
    return kept;
}

std::string describe_record(Context& context, std::string_view noun, const Json& record) {
    const JsonObject* object = record.if_object();
    if (object == nullptr) return to_text(record) + '\n';
    JsonObject head;
    head["name"] = context.full_name(noun, record);
    for (const char* field : {"id", "labels", "created_ns"}) {
        if (const Json* value = object->if_contains(field)) head[field] = *value;
    }
    if (Json* labels = head.if_contains("labels"); labels != nullptr && labels->is_object()) {
        std::string all;
        for (const auto& label : labels->get_object()) {
            all += fmt::format("{}{}={}", all.empty() ? "" : ", ", std::string_view(label.key()),
                               label.value().is_string() ? std::string(label.value().get_string())
                                                         : to_text(label.value()));
        }
        *labels = all;
    }
    if (noun == "vm") {
        const std::string addresses = addresses_of(context, record);
        if (!addresses.empty()) head["address"] = addresses;
    }
    const auto is_wanted = [&](std::string_view field) {
        return find_field(record, fmt::format("spec.{}", field)) != nullptr;
    };
    // One width for all, so that the page has one edge.
    JsonObject all = head;
    for (const char* part : {"status", "live", "spec", "progress"}) {
        const Json* value = object->if_contains(part);
        if (value == nullptr || !value->is_object()) continue;
        const JsonObject plain = part == std::string_view("status")
                                     ? without_noise(value->get_object())
                                     : value->get_object();
        for (const auto& member : plain) {
            // What is used of "memory_bytes" stands beside what there is.
            const bool is_live = part == std::string_view("live") && is_wanted(member.key());
            const std::string key = is_live ? fmt::format("used_{}", std::string(member.key()))
                                            : std::string(member.key());
            if (!all.contains(key)) all[key] = member.value();
        }
    }
    return describe(context, all, 0);
}

}  // namespace

std::string describe(Context& context, const Json& value, size_t indent) {
    const JsonObject* object = value.if_object();
    if (object == nullptr)
        return fmt::format("{:{}}{}\n", "", indent, to_plain_text(to_text(value)));
    const size_t width = title_width(*object);
    // Plain fields before those that take many lines.
    std::string plain;
    std::string blocks;
    for (const auto& member : *object) {
        const Json& field = member.value();
        if (is_empty(field)) continue;
        if (is_scalar(field)) {
            plain += fmt::format("{:{}}{:<{}}{}\n", "", indent, title_of(member.key()), width,
                                 scalar_text(context, member.key(), field));
        } else if (const JsonArray* array = field.if_array()) {
            const bool is_block = (*array)[0].is_object();
            (is_block ? blocks : plain) +=
                describe_array(context, member.key(), *array, indent, width);
        } else {
            const std::string inner = describe(context, field, indent + 2);
            if (!inner.empty()) {
                blocks += fmt::format("{:{}}{}\n{}", "", indent, title_of(member.key()), inner);
            }
        }
    }
    return plain + blocks;
}

void show_list(Context& context, std::string_view noun, const JsonArray& records) {
    if (context.wishes().quiet) {
        for (const Json& record : records) print("{}\n", to_plain_text(text_at(record, "id")));
        return;
    }
    if (context.wishes().output != Output::table) {
        context.show_value(records);
        return;
    }
    const auto columns = columns_of(noun);
    std::vector<Table::Column> titles;
    for (const Column& column : columns) {
        titles.push_back({.title = std::string(column.title),
                          .is_number = column.is_number,
                          .is_fixed = column.path == "id"});
    }
    Table table(std::move(titles));
    for (const Json& record : records) {
        std::vector<std::string> cells;
        for (const Column& column : columns) {
            cells.push_back(cell_of(context, noun, column, record));
        }
        table.add(std::move(cells));
    }
    if (table.empty()) print_error("no {}\n", find_noun(noun)->plural);
    else write_text(stdout, table.to_text(output_width()));
}

void show_records(Context& context, std::string_view noun, const JsonArray& records) {
    if (context.wishes().quiet) return show_list(context, noun, records);
    if (context.wishes().output != Output::table) {
        context.show_value(records.size() == 1 ? records[0] : Json(records));
        return;
    }
    bool is_first = true;
    for (const Json& record : records) {
        if (!is_first) print("\n");
        is_first = false;
        write_text(stdout, describe_record(context, noun, record));
    }
}

}  // namespace stoa::cli
