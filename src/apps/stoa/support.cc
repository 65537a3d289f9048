// `stoa support bundle`: what the API shows, as files in a tar, without secrets.
//
// The API shows no secrets; what looks like one in free text (a kernel's command line, a label, the
// text of an event) is taken out here as well.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>

#include "apps/stoa/body.h"
#include "apps/stoa/commands.h"
#include "apps/stoa/redact.h"
#include "apps/stoa/tar.h"
#include "apps/stoa/units.h"

namespace stoa::cli {

namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;
constexpr std::array<std::string_view, 11> kCollections{
    "hosts", "pools", "volumes", "snapshots", "images", "networks",
    "vms",   "tasks", "users",   "roles",     "tokens"};

Result<void> write_file(const std::string& path, const std::string& bytes) {
    if (path == "-") {
        write_text(stdout, bytes);
        return {};
    }
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0) {
        const bool is_there = errno == EEXIST;
        return Error(is_there ? ErrorCode::already_exists : ErrorCode::io,
                     fmt::format("{}: {}", path, is_there ? "is there already" : "cannot be made"));
    }
    size_t at = 0;
    while (at < bytes.size()) {
        const auto got = ::write(file, bytes.data() + at, bytes.size() - at);
        if (got <= 0) break;
        at += static_cast<size_t>(got);
    }
    const bool is_whole = ::close(file) == 0 && at == bytes.size();
    if (!is_whole) ::unlink(path.c_str());
    return is_whole ? Result<void>()
                    : Error(ErrorCode::io, fmt::format("{}: cannot be written", path));
}

}  // namespace

Result<int> run_support_bundle(Context& context, const Invocation& invocation) {
    const int64_t now = now_ns() / kNsPerSecond;
    std::string path = invocation.argument("FILE");
    if (path.empty()) path = fmt::format("stoa-support-{}.tar", now);
    Tar tar;
    std::string problems;
    const auto add = [&](std::string_view name, const std::string& text) {
        tar.add(fmt::format("stoa-support/{}", name), text, now);
    };
    // The first answer decides whether there is anybody to ask.
    TRY_ASSIGN(const Json info, context.session().get("/v1/info"));
    add("info.json", to_pretty_text(redacted(info)) + '\n');
    for (const std::string_view collection : kCollections) {
        const auto items = context.session().list(fmt::format("/v1/{}", collection));
        if (!items.ok()) {
            if (context.session().was_interrupted()) return items.error();
            problems += fmt::format("{}: {}\n", collection, items.error().message());
            continue;
        }
        add(fmt::format("{}.json", collection), to_pretty_text(redacted(Json(*items))) + '\n');
    }
    for (const auto& [target, name] :
         {std::pair("/v1/events?newest_first=true&limit=1000", "events.json"),
          std::pair("/v1/audit?newest_first=true&limit=1000", "audit.json")}) {
        const auto entries = context.session().get(target);
        if (entries.ok()) add(name, to_pretty_text(redacted(*entries)) + '\n');
        else problems += fmt::format("{}: {}\n", name, entries.error().message());
    }
    for (const auto& [target, name] :
         {std::pair("/metrics", "metrics.txt"), std::pair("/healthz", "healthz.txt")}) {
        const auto text = context.session().get_text(target);
        if (text.ok()) add(name, *text);
        else problems += fmt::format("{}: {}\n", target, text.error().message());
    }
    add("client.txt",
        fmt::format("stoa {}\nmade {}\n{}", STOA_VERSION, format_time(now_ns()), problems));
    TRY(write_file(path, tar.finish()));
    if (path == "-") return kDone;
    if (context.wishes().quiet) print("{}\n", path);
    else context.say("{}: made; look into it before you give it away\n", path);
    return kDone;
}

}  // namespace stoa::cli
