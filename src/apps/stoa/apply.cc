// `stoa apply -f FILE` and `stoa KIND edit`: the world made as documents say.
//
// A document is {"kind": ..., "name": ...} with the fields of a request to create, or with a "spec"
// as `-o json` shows it. A file holds one, an array of them, {"items": [...]}, or one a line.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>

#include "apps/stoa/body.h"
#include "apps/stoa/change.h"
#include "apps/stoa/commands.h"
#include "apps/stoa/difference.h"
#include "apps/stoa/generic.h"
#include "apps/stoa/terminal.h"
#include "base/utf8.h"

namespace stoa::cli {

namespace {

Error wrong(std::string text) { return {ErrorCode::invalid_argument, std::move(text)}; }

Result<std::string> read_all(const std::string& path) {
    if (path == "-") return std::string(std::istreambuf_iterator<char>(std::cin), {});
    std::ifstream file(path);
    std::string text(std::istreambuf_iterator<char>(file), {});
    if (!file) return Error(ErrorCode::not_found, fmt::format("{}: cannot be read", path));
    return text;
}

Result<JsonArray> parse_documents(const std::string& text, const std::string& path) {
    JsonArray documents;
    auto whole = parse_json(text);
    if (whole.ok()) {
        Json* items = whole->is_object() ? whole->get_object().if_contains("items") : nullptr;
        if (items != nullptr && items->is_array()) return std::move(items->get_array());
        if (whole->is_array()) return std::move(whole->get_array());
        documents.push_back(*std::move(whole));
        return documents;
    }
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
        auto one = parse_json(line);
        // What is wrong with the whole says more than what is wrong with its first line.
        if (!one.ok() || !one->is_object()) return whole.error().with_context(path);
        documents.push_back(*std::move(one));
    }
    return documents;
}

// The reference of a document: "fast/data" for a volume with a pool.
std::string reference_of(const std::string& kind, const Json& document) {
    const std::string name = text_at(document, "name");
    std::string pool = text_at(document, "pool");
    if (pool.empty()) pool = text_at(document, "spec.pool");
    return kind == "volume" && !pool.empty() ? fmt::format("{}/{}", pool, name) : name;
}

Result<void> create(Context& context, const Noun& noun, const std::string& title,
                    const JsonObject& document) {
    Change change;
    change.target = fmt::format("/v1/{}", noun.plural);
    change.body = flatten(document);
    change.title = title;
    change.done = "created";
    return make_change(context, change);
}

Result<void> change_record(Context& context, const Noun& noun, const std::string& title,
                           const Json& record, Difference wanted) {
    for (const std::string& line : wanted.lines) context.say("{}: {}\n", title, line);
    Change change;
    change.method = client::Method::patch;
    change.target = item_target(noun.plural, text_at(record, "id"));
    change.body = std::move(wanted.patch);
    change.if_match = text_at(record, "revision");
    change.title = title;
    change.done = "changed";
    return make_change(context, change);
}

// A VM that is to run is started.
Result<void> start(Context& context, const Json& record, const std::string& title) {
    Change change;
    change.target = item_target("vms", text_at(record, "id")) + "/start";
    change.title = title;
    change.done = "started";
    return make_change(context, change);
}

Result<void> apply_one(Context& context, const Json& document, size_t number) {
    const std::string kind = text_at(document, "kind");
    const Noun* noun = find_noun(kind);
    if (!document.is_object() || noun == nullptr || find_verb(kind, "create") == nullptr) {
        return wrong(
            fmt::format("document {}: \"kind\" must be one of vm, volume, pool, network, "
                        "snapshot, user, role, token",
                        number));
    }
    const std::string name = reference_of(kind, document);
    if (name.empty()) return wrong(fmt::format("document {}: \"name\" is missing", number));
    const std::string title = fmt::format("{} {}", kind, to_plain_text(name));
    auto record = context.session().get(item_target(noun->plural, name));
    if (!record.ok()) {
        if (record.error().code() != ErrorCode::not_found ||
            context.session().exit_code(record.error()) != kNotFound) {
            return record.take_error();
        }
        return create(context, *noun, title, document.get_object());
    }
    const JsonArray none;
    Difference wanted = difference(kind, *record, document.get_object(),
                                   kind == "vm" ? context.records("volumes") : none);
    const std::string power = text_at(document, "spec.power");
    const bool starts = kind == "vm" && text_at(*record, "status.state") == "off" &&
                        (text_at(document, "start") == "true" || power == "on");
    if (wanted.patch.empty() && !starts) {
        context.say("{} unchanged\n", title);
        return {};
    }
    if (!wanted.patch.empty()) {
        TRY(change_record(context, *noun, title, *record, std::move(wanted)));
    }
    return starts ? start(context, *record, title) : Result<void>();
}

// A file that is removed with it.
class Draft {
public:
    static Result<Draft> create(const std::string& text) {
        std::string path = (std::filesystem::temp_directory_path() / "stoa-XXXXXX.json").string();
        const int file = ::mkstemps(path.data(), 5);
        if (file < 0) return Error(ErrorCode::io, fmt::format("{}: cannot be made", path));
        Draft draft(path);
        const auto written = ::write(file, text.data(), text.size());
        ::close(file);
        if (written != static_cast<ssize_t>(text.size())) {
            return Error(ErrorCode::io, fmt::format("{}: cannot be written", path));
        }
        return draft;
    }
    Draft(Draft&& other) noexcept : path_(std::exchange(other.path_, {})) {}
    Draft(const Draft&) = delete;
    Draft& operator=(const Draft&) = delete;
    ~Draft() {
        if (!path_.empty()) ::unlink(path_.c_str());
    }
    [[nodiscard]] const std::string& path() const { return path_; }
    // The text stays where the user can get it back.
    std::string keep() { return std::exchange(path_, {}); }

private:
    explicit Draft(std::string path) : path_(std::move(path)) {}
    std::string path_;
};

Result<void> run_editor(const std::string& path) {
    const char* editor = std::getenv("VISUAL");
    if (editor == nullptr || *editor == '\0') editor = std::getenv("EDITOR");
    if (editor == nullptr || *editor == '\0') editor = "vi";
    // The user's own command, which may have arguments; the path is ours.
    const int status = std::system(fmt::format("{} '{}'", editor, path).c_str());  // NOLINT
    if (status == 0) return {};
    return Error(ErrorCode::cancelled, fmt::format("{} failed; left as it is", editor));
}

}  // namespace

Result<int> run_apply(Context& context, const Invocation& invocation) {
    if (!invocation.has("--file")) return wrong("apply needs a file: stoa apply -f FILE");
    const std::string path = invocation.option("--file");
    TRY_ASSIGN(const std::string text, read_all(path));
    TRY_ASSIGN(const JsonArray documents, parse_documents(text, path));
    if (documents.empty()) return wrong(fmt::format("{}: holds no documents", path));
    size_t number = 0;
    for (const Json& document : documents) TRY(apply_one(context, document, ++number));
    return kDone;
}

Result<int> run_edit(Context& context, const Invocation& invocation) {
    const Noun* noun = find_noun(invocation.verb->noun);
    if (!can_ask()) return wrong("edit needs a terminal; use set, or apply -f FILE");
    const std::string name = invocation.argument("NAME");
    TRY_ASSIGN(const Json record, context.session().get(item_target(noun->plural, name)));
    JsonObject shown;
    for (const char* field : {"name", "labels", "spec"}) {
        if (const Json* value = find_field(record, field)) shown[field] = *value;
    }
    const std::string before = to_pretty_text(shown) + '\n';
    TRY_ASSIGN(Draft draft, Draft::create(before));
    TRY(run_editor(draft.path()));
    TRY_ASSIGN(const std::string after, read_all(draft.path()));
    const std::string title = fmt::format("{} {}", noun->name, to_plain_text(name));
    if (after == before) {
        context.say("{} unchanged\n", title);
        return kDone;
    }
    const auto wanted = parse_json(after);
    Result<void> result = wanted.ok() && wanted->is_object()
                              ? Result<void>()
                              : wrong("what was written is no JSON object");
    if (result.ok()) {
        const JsonArray none;
        result = change_record(context, *noun, title, record,
                               difference(noun->name, record, wanted->get_object(),
                                          noun->name == "vm" ? context.records("volumes") : none));
    }
    if (!result.ok()) {
        print_error("stoa: your text is kept in {}\n", draft.keep());
        return result.take_error();
    }
    return kDone;
}

}  // namespace stoa::cli
