// Commands into a guest, by its agent: exec, push, pull; and what it shows: logs, screenshot.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iostream>
#include <iterator>
#include <memory>

#include "apps/stoa/body.h"
#include "apps/stoa/commands.h"
#include "apps/stoa/progress.h"
#include "base/base64.h"
#include "base/utf8.h"
#include "client/endpoint.h"

namespace stoa::cli {

namespace {

constexpr int kSignalBase = 128;  // as shells say it
constexpr auto kExecMargin = std::chrono::seconds(15);

struct Closer {
    void operator()(std::FILE* file) const {
        if (file != stdin && file != stdout) std::fclose(file);
    }
};
using File = std::unique_ptr<std::FILE, Closer>;

Error failed(const std::string& path, std::string_view what) {
    return {ErrorCode::io, fmt::format("{}: {}: {}", path, what, std::strerror(errno)), errno};
}

Result<File> open_file(const std::string& path, const char* mode) {
    if (path == "-") return File(*mode == 'r' ? stdin : stdout);
    File file(std::fopen(path.c_str(), mode));
    if (!file) return failed(path, "cannot be opened");
    return file;
}

// Into a new file beside it, which takes its name when all is there.
Result<void> download_to(Context& context, const client::Call& call, const std::string& path) {
    TRY_ASSIGN(client::Client * client, context.session().client());
    const bool is_stream = path == "-";
    const std::string fresh = is_stream ? path : fmt::format("{}.{}.part", path, ::getpid());
    TRY_ASSIGN(const File file, open_file(fresh, "wbe"));
    ProgressLine line;
    uint64_t bytes = 0;
    auto result = client->download(call, [&](std::string_view piece) -> Result<void> {
        if (std::fwrite(piece.data(), 1, piece.size(), file.get()) != piece.size()) {
            return failed(path, "cannot be written");
        }
        bytes += piece.size();
        if (!is_stream) line.show(path, bytes, 0);
        return {};
    });
    line.clear();
    if (result.ok() && std::fflush(file.get()) != 0) result = failed(path, "cannot be written");
    if (is_stream) return result;
    if (result.ok() && std::rename(fresh.c_str(), path.c_str()) != 0) {
        result = failed(path, "cannot be made");
    }
    if (!result.ok()) std::remove(fresh.c_str());
    return result;
}

std::string files_target(const std::string& vm, const std::string& path) {
    return fmt::format("{}/files?path={}", item_target("vms", vm), client::percent_encode(path));
}

}  // namespace

Result<int> run_exec(Context& context, const Invocation& invocation) {
    JsonObject body;
    JsonArray command;
    for (const std::string& word : invocation.all("COMMAND")) command.push_back(Json(word));
    body["command"] = std::move(command);
    if (const auto found = invocation.options.find("--env"); found != invocation.options.end()) {
        TRY_ASSIGN(body["environment"], to_value(Take::labels, "--env", found->second));
    }
    if (invocation.has("--stdin")) {
        body["input"] = to_base64(std::string(std::istreambuf_iterator<char>(std::cin), {}));
    }
    client::Call call{.method = client::Method::post,
                      .target = item_target("vms", invocation.argument("NAME")) + "/exec"};
    const auto limit = context.wishes().timeout.value_or(std::chrono::seconds(60));
    body["timeout_seconds"] = limit.count();
    call.limit = limit + kExecMargin;
    call.body = std::move(body);
    // Not by the session: what runs in a guest is not begun a second time.
    TRY_ASSIGN(client::Client * client, context.session().client());
    TRY_ASSIGN(const auto answer, client->call(call));
    if (context.wishes().output != Output::table) {
        context.show_value(answer.body);
        return kDone;
    }
    TRY_ASSIGN(const std::string output, from_base64(text_at(answer.body, "output")));
    TRY_ASSIGN(const std::string errors, from_base64(text_at(answer.body, "error_output")));
    write_text(stdout, output);
    write_text(stderr, errors);
    if (text_at(answer.body, "cut") == "true") {
        print_error("stoa: there was more output than is kept\n");
    }
    const auto signal = static_cast<int>(number_at(answer.body, "signal"));
    if (signal != 0) return kSignalBase + signal;
    return static_cast<int>(number_at(answer.body, "exit_code"));
}

Result<int> run_push(Context& context, const Invocation& invocation) {
    const std::string path = invocation.argument("FILE");
    TRY_ASSIGN(const File file, open_file(path, "rbe"));
    std::optional<uint64_t> size_bytes;
    struct stat facts{};
    if (::fstat(::fileno(file.get()), &facts) == 0 && S_ISREG(facts.st_mode)) {
        size_bytes = static_cast<uint64_t>(facts.st_size);
    }
    ProgressLine line;
    uint64_t bytes = 0;
    const std::string title = to_plain_text(path);
    const client::Source source = [&](std::span<char> into) -> Result<size_t> {
        const size_t got = std::fread(into.data(), 1, into.size(), file.get());
        if (got == 0 && std::ferror(file.get()) != 0) return failed(path, "cannot be read");
        bytes += got;
        line.show(title, bytes, size_bytes.value_or(0));
        return got;
    };
    TRY_ASSIGN(client::Client * client, context.session().client());
    const client::Call call{
        .method = client::Method::put,
        .target = files_target(invocation.argument("NAME"), invocation.argument("PATH"))};
    const auto answer = client->upload(call, source, size_bytes);
    line.clear();
    if (!answer.ok()) return answer.error();
    return kDone;
}

Result<int> run_pull(Context& context, const Invocation& invocation) {
    const client::Call call{
        .target = files_target(invocation.argument("NAME"), invocation.argument("PATH"))};
    TRY(download_to(context, call, invocation.argument("FILE")));
    return kDone;
}

Result<int> run_screenshot(Context& context, const Invocation& invocation) {
    const client::Call call{.target =
                                item_target("vms", invocation.argument("NAME")) + "/screenshot"};
    TRY(download_to(context, call, invocation.argument("FILE")));
    return kDone;
}

// The guest wrote it: on a terminal only what is text, line feeds and tabs.
Result<int> run_logs(Context& context, const Invocation& invocation) {
    TRY_ASSIGN(
        const std::string text,
        context.session().get_text(item_target("vms", invocation.argument("NAME")) + "/logs"));
    std::string line;
    for (const char c : text) {
        if (c == '\n') {
            write_text(stdout, to_plain_text(line) + '\n');
            line.clear();
        } else if (c == '\t') {
            line += "    ";
        } else if (c != '\r') {
            line += c;
        }
    }
    if (!line.empty()) write_text(stdout, to_plain_text(line) + '\n');
    return kDone;
}

}  // namespace stoa::cli
