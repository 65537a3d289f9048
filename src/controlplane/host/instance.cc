#include "controlplane/host/instance.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>

#include "base/json.h"
#include "controlplane/host/files.h"

namespace stoa::host {

namespace {

constexpr size_t kInstanceDigits = 8;
constexpr size_t kStateBytesMax = size_t{64} << 20;
// In RUN: what a VM's directory needs at least.
constexpr std::string_view kLongestOfVm = "/vm/00000000-0000-0000-0000-000000000000/serial.sock";

// The "instance" that stoa-blockd drew. Its other fields are none of our business.
Result<std::string> drawn_by_blockd(const std::string& root) {
    const std::string path = root + "/blockd/state.json";
    const auto text = read_file(path, kStateBytesMax);
    if (!text.ok() && text.error().code() == ErrorCode::not_found) {
        return Error(ErrorCode::not_found,
                     fmt::format("instance {}: stoa-blockd has never run here ({} is missing); "
                                 "start \"stoa-blockd --root {}\" first",
                                 root, path, root));
    }
    if (!text.ok()) return text.error();
    const auto json = parse_json(*text);
    const JsonObject* object = json.ok() ? json->if_object() : nullptr;
    const Json* id = object != nullptr ? object->if_contains("instance") : nullptr;
    if (id == nullptr || !id->is_string() || !is_instance_id(std::string(id->get_string()))) {
        return Error(ErrorCode::corrupt,
                     fmt::format("file {}: has no \"instance\" of 8 hexadecimal digits; restore it "
                                 "from a copy",
                                 path));
    }
    return std::string(id->get_string());
}

// XDG_RUNTIME_DIR, if it is a directory of ours: after su(1) it is the caller's.
std::string user_runtime() {
    const char* named = std::getenv("XDG_RUNTIME_DIR");
    if (named == nullptr || named[0] != '/') return "";
    struct stat there{};
    const bool usable =
        ::stat(named, &there) == 0 && S_ISDIR(there.st_mode) && there.st_uid == ::geteuid();
    return usable ? named : "";
}

// RUN and its parent of our own: nobody else may put anything there. Root's may be passed through.
Result<void> make_runtime(const std::string& runtime) {
    const uint32_t mode = ::geteuid() == 0 ? 0711 : 0700;
    const std::string parent = runtime.substr(0, runtime.rfind('/'));
    TRY(make_private_directory(parent, mode));
    TRY(make_private_directory(runtime, mode));
    return make_private_directory(runtime + "/vm", mode);
}

}  // namespace

Result<void> check_socket_path(std::string_view path) {
    if (path.size() <= kSocketPathBytesMax) return {};
    return Error(ErrorCode::invalid_argument,
                 fmt::format("socket path {}: {} bytes, and the kernel takes at most {}; choose a "
                             "shorter directory or name",
                             path, path.size(), kSocketPathBytesMax));
}

bool is_instance_id(std::string_view text) {
    return text.size() == kInstanceDigits &&
           text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

Result<std::string> instance_id(const std::string& root) {
    const std::string path = root + "/stoad/instance";
    const auto remembered = read_file(path, kSocketPathBytesMax);
    if (remembered.ok()) {
        std::string id = remembered->substr(0, remembered->find('\n'));
        if (is_instance_id(id)) return id;
        return Error(ErrorCode::corrupt,
                     fmt::format("file {}: must hold 8 hexadecimal digits; remove it, and it is "
                                 "made again",
                                 path));
    }
    if (remembered.error().code() != ErrorCode::not_found) return remembered.error();
    TRY_ASSIGN(std::string id, drawn_by_blockd(root));
    TRY(make_directories(root + "/stoad"));
    TRY(replace_file(path, id + "\n"));
    return id;
}

std::string runtime_directory(std::string_view instance, uint32_t uid,
                              std::string_view user_directory) {
    if (uid == 0) return fmt::format("/run/stoa/{}", instance);
    if (!user_directory.empty()) return fmt::format("{}/stoa/{}", user_directory, instance);
    return fmt::format("/tmp/stoa-{}/{}", uid, instance);
}

Result<Instance> Instance::open(const std::string& root) {
    std::error_code failed;
    std::string absolute = std::filesystem::absolute(root, failed).lexically_normal();
    if (failed || root.empty()) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("instance root \"{}\": no path", root));
    }
    while (absolute.size() > 1 && absolute.ends_with('/')) absolute.pop_back();
    TRY(make_directories(absolute + "/stoad"));
    TRY(check_private_directory(absolute));
    TRY(check_private_directory(absolute + "/stoad"));
    auto lock = lock_file(absolute + "/stoad/lock");
    if (!lock.ok()) return lock.error().with_context("instance " + absolute);
    TRY_ASSIGN(std::string id, instance_id(absolute));
    std::string runtime = runtime_directory(id, ::geteuid(), user_runtime());
    TRY(check_socket_path(runtime + std::string(kLongestOfVm)));
    TRY(make_runtime(runtime));
    return Instance(std::move(absolute), std::move(id), std::move(runtime), *std::move(lock));
}

Result<std::string> Instance::socket_path(std::string_view name) const {
    std::string path = fmt::format("{}/{}", runtime_, name);
    TRY(check_socket_path(path));
    return path;
}

std::string Instance::state_path(std::string_view name) const {
    return fmt::format("{}/stoad/{}", root_, name);
}

}  // namespace stoa::host
