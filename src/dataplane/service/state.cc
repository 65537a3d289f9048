#include "dataplane/service/state.h"

#include <fmt/format.h>

#include "dataplane/io/run_in_thread.h"
#include "dataplane/io/small_file.h"

namespace stoa::service {

namespace {
constexpr size_t kFileBytesMax = size_t{64} << 20;
constexpr size_t kInstanceDigits = 8;
}  // namespace

Result<State> parse_state(std::string_view text, const std::string& path) {
    const auto corrupt = [&path](const Error& why) {
        return Error(ErrorCode::corrupt, fmt::format("file {}: {}; restore it from a copy, or move "
                                                     "it away to start without pools",
                                                     path, why.message()));
    };
    const Result<Json> json = parse_json(text);
    if (!json.ok()) return corrupt(json.error());
    // Before unknown fields are complained about.
    const JsonObject* object = json->if_object();
    const Json* version = object != nullptr ? object->if_contains("version") : nullptr;
    if (version != nullptr && version->is_int64() && version->get_int64() > State::kVersion) {
        return Error(ErrorCode::unsupported,
                     fmt::format("file {}: written by a newer version (format {}, this one knows "
                                 "{})",
                                 path, version->get_int64(), State::kVersion));
    }
    State state;
    const auto read = from_json(*json, state);
    if (!read.ok()) return corrupt(read.error());
    // It becomes part of paths.
    const bool is_id = state.instance.size() == kInstanceDigits &&
                       state.instance.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (!is_id) {
        return corrupt(Error(ErrorCode::corrupt, "\"instance\" must be 8 hexadecimal digits"));
    }
    return state;
}

Result<std::unique_ptr<StateFile>> StateFile::open(io::Reactor& reactor, std::string path) {
    std::unique_ptr<StateFile> file(new StateFile(reactor, std::move(path)));
    const auto text = io::read_small_file(file->path_, kFileBytesMax);
    if (text.ok()) {
        TRY_ASSIGN(file->state, parse_state(*text, file->path_));
        return file;
    }
    if (text.error().code() != ErrorCode::not_found) return text.error();
    file->state.instance = fmt::format("{:08x}", static_cast<uint32_t>(reactor.random()));
    TRY(io::replace_small_file(file->path_, to_pretty_text(to_json(file->state)) + '\n'));
    return file;
}

io::Task<Result<void>> StateFile::save() {
    io::Mutex::Guard guard = co_await lock_.lock();
    const std::string text = to_pretty_text(to_json(state)) + '\n';
    co_return co_await io::run_in_thread(
        reactor_, [this, &text] { return io::replace_small_file(path_, text); });
}

}  // namespace stoa::service
