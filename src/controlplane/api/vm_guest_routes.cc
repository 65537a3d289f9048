// Routes into a running guest: its console and screen, and what its agent does for us. None of
// these is a task: they change nothing that Stoa keeps.
#include <algorithm>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "base/base64.h"
#include "base/schema.h"
#include "controlplane/api/vm_routes.h"
#include "controlplane/host/files.h"
#include "controlplane/http/proxy.h"
#include "controlplane/machine/guest_files.h"
#include "controlplane/model/vm_requests.h"
#include "controlplane/qemu/agent_commands.h"
#include "controlplane/qemu/serial_log.h"

namespace stoa::api {

namespace {

using http::Method;
using http::Request;
using http::Response;
using http::Route;

constexpr size_t kScreenBytesMax = size_t{64} << 20;
constexpr uint32_t kExecSecondsMax = 3600;

// What the handlers share; a copy in each.
struct Inside {
    Context* context;
    machine::Guests* guests;
    const machine::Settings* settings;

    [[nodiscard]] Result<machine::Guest*> guest(const Request& request) const {
        TRY_ASSIGN(const auto* record, context->records.find<model::Vm>(request.parameter("vm")));
        return guests->find(record->id);
    }
};

Async<Response> give_ticket(Inside inside, const Request& request) {
    CO_TRY_ASSIGN(const machine::Guest* guest, inside.guest(request));
    CO_TRY(guest->qmp());
    co_return Response{.body = JsonObject{{"ticket", inside.context->tickets.issue(
                                                         request.principal, request.path)}}};
}

Async<> relay(Inside inside, std::string (*socket_of)(std::string_view), const Request& request,
              http::Socket& socket) {
    CO_TRY_ASSIGN(const machine::Guest* guest, inside.guest(request));
    const std::string path = socket_of(machine::run_directory(*inside.settings, guest->id()));
    co_return co_await http::proxy(socket, path);
}

Async<Response> screenshot(Inside inside, const Request& request) {
    CO_TRY_ASSIGN(const machine::Guest* guest, inside.guest(request));
    CO_TRY_ASSIGN(const auto monitor, guest->qmp());
    // QEMU writes it as its own user, where only that one can.
    const std::string path =
        fmt::format("{}/screen-{:x}.png", machine::run_directory(*inside.settings, guest->id()),
                    inside.context->random.next());
    auto done = co_await qemu::screendump(*monitor, path);
    auto image = host::read_file(path, kScreenBytesMax);
    static_cast<void>(host::remove_file(path));
    if (!done.ok()) co_return done.take_error();
    if (!image.ok()) co_return image.take_error();
    co_return Response{.text = *std::move(image), .text_type = "image/png"};
}

Async<Response> logs(Inside inside, const Request& request) {
    CO_TRY_ASSIGN(const machine::Guest* guest, inside.guest(request));
    CO_TRY_ASSIGN(std::string text,
                  qemu::read_serial_log(machine::serial_file(*inside.settings, guest->id())));
    co_return Response{.text = std::move(text), .text_type = "text/plain; charset=utf-8"};
}

Async<Response> exec(Inside inside, const Request& request) {
    model::VmExec body;
    CO_TRY(from_json(request.body, body));
    if (body.command.empty()) {
        co_return Error(ErrorCode::invalid_argument, "command: give a program and its arguments");
    }
    if (body.timeout_seconds < 1 || body.timeout_seconds > kExecSecondsMax) {
        co_return Error(
            ErrorCode::invalid_argument,
            fmt::format("timeout_seconds: {}: 1 to {}", body.timeout_seconds, kExecSecondsMax));
    }
    CO_TRY_ASSIGN(const machine::Guest* guest, inside.guest(request));
    CO_TRY_ASSIGN(const auto agent, guest->agent());
    qemu::AgentExec what;
    what.path = body.command.front();
    what.arguments.assign(body.command.begin() + 1, body.command.end());
    what.environment = body.environment;
    const auto input = from_base64(body.input);
    if (!input.ok()) co_return input.error().with_context("input");
    what.input = *input;
    what.limit = std::chrono::seconds(body.timeout_seconds);
    CO_TRY_ASSIGN(const auto ended, co_await qemu::exec(*agent, std::move(what)));
    model::VmExecResult result;
    result.exit_code = ended.exit_code;
    result.signal = ended.signal;
    result.output = to_base64(ended.output);
    result.error_output = to_base64(ended.error_output);
    result.is_cut = ended.is_cut;
    co_return Response{.body = to_json(result)};
}

Result<std::string> path_of(const Request& request) {
    const std::string path = request.option("path");
    if (path.starts_with('/')) return path;
    return Error(ErrorCode::invalid_argument,
                 fmt::format("path: \"{}\": give an absolute path in the guest", path));
}

Async<std::string> next_piece(http::ByteSource& body, size_t bytes_max) {
    std::string piece(bytes_max, '\0');
    size_t filled = 0;
    while (filled < piece.size()) {
        const std::span<char> rest(piece.data() + filled, piece.size() - filled);
        CO_TRY_ASSIGN(const size_t got, co_await body.read(std::as_writable_bytes(rest)));
        if (got == 0) break;
        filled += got;
    }
    piece.resize(filled);
    co_return piece;
}

Async<Response> push(Inside inside, const Request& request, http::ByteSource& body) {
    CO_TRY_ASSIGN(const std::string path, path_of(request));
    CO_TRY_ASSIGN(const machine::Guest* guest, inside.guest(request));
    CO_TRY_ASSIGN(const auto agent, guest->agent());
    CO_TRY_ASSIGN(const uint64_t bytes,
                  co_await machine::push_file(agent, path, [&body](size_t bytes_max) {
                      return next_piece(body, bytes_max);
                  }));
    co_return Response{.body = JsonObject{{"bytes", bytes}}};
}

// A guest's file as a body.
class FileSource final : public http::ByteSource {
public:
    explicit FileSource(std::unique_ptr<machine::GuestFile> file) : file_(std::move(file)) {}
    Async<size_t> read(std::span<std::byte> into) override {
        if (at_ == piece_.size()) {
            CO_TRY_ASSIGN(piece_, co_await file_->read());
            at_ = 0;
        }
        const size_t count = std::min(into.size(), piece_.size() - at_);
        std::ranges::copy(std::as_bytes(std::span(piece_)).subspan(at_, count), into.begin());
        at_ += count;
        co_return count;
    }

private:
    std::unique_ptr<machine::GuestFile> file_;
    std::string piece_;
    size_t at_ = 0;
};

Async<Response> pull(Inside inside, const Request& request) {
    CO_TRY_ASSIGN(const std::string path, path_of(request));
    CO_TRY_ASSIGN(const machine::Guest* guest, inside.guest(request));
    CO_TRY_ASSIGN(const auto agent, guest->agent());
    CO_TRY_ASSIGN(auto file, co_await machine::GuestFile::open(agent, path));
    Response response;
    response.stream = std::make_unique<FileSource>(std::move(file));
    co_return response;
}

Route in_guest(Method method, const std::string& what, std::string permission,
               std::string summary) {
    return {.method = method,
            .path = "/v1/vms/{vm}/" + what,
            .permission = std::move(permission),
            .resource = "/vm/{vm}",
            .summary = std::move(summary)};
}

void add_screen(std::vector<Route>& routes, Inside inside, const std::string& what,
                const std::string& name, std::string (*socket_of)(std::string_view)) {
    Route ticket =
        in_guest(Method::post, what, "vm.console", fmt::format("Gives a ticket for the {}", name));
    ticket.handler =
        http::Direct{[inside](const Request& request) { return give_ticket(inside, request); }};
    routes.push_back(std::move(ticket));
    Route live = in_guest(Method::get, what, "vm.console", fmt::format("The {} (WebSocket)", name));
    live.handler = http::Live{[inside, socket_of](const Request& request, http::Socket& socket) {
        return relay(inside, socket_of, request, socket);
    }};
    routes.push_back(std::move(live));
}

void add_files(std::vector<Route>& routes, Inside inside) {
    const http::Parameter path{.name = "path", .summary = "absolute path in the guest"};
    Route read = in_guest(Method::get, "files", "vm.file", "A file of the guest");
    read.handler = http::Direct{[inside](const Request& request) { return pull(inside, request); }};
    read.query = {path};
    routes.push_back(std::move(read));
    Route write = in_guest(Method::put, "files", "vm.file", "Writes a file in the guest");
    write.handler = http::Upload{[inside](const Request& request, http::ByteSource& body) {
        return push(inside, request, body);
    }};
    write.query = {path};
    routes.push_back(std::move(write));
}

}  // namespace

std::vector<Route> vm_guest_routes(Context& context, machine::Guests& guests,
                                   const machine::Settings& settings) {
    const Inside inside{&context, &guests, &settings};
    std::vector<Route> routes;
    add_screen(routes, inside, "console", "serial console", qemu::serial_socket);
    add_screen(routes, inside, "vnc", "screen, as VNC", qemu::vnc_socket);
    Route screen = in_guest(Method::get, "screenshot", "vm.console", "The screen, as PNG");
    screen.handler =
        http::Read{[inside](const Request& request) { return screenshot(inside, request); }};
    routes.push_back(std::move(screen));
    Route log = in_guest(Method::get, "logs", "vm.console", "What the guest wrote on its console");
    log.handler = http::Read{[inside](const Request& request) { return logs(inside, request); }};
    routes.push_back(std::move(log));
    Route run = in_guest(Method::post, "exec", "vm.exec", "Runs a program in the guest");
    run.handler = http::Direct{[inside](const Request& request) { return exec(inside, request); }};
    run.body_schema = json_schema<model::VmExec>();
    run.answer_schema = json_schema<model::VmExecResult>();
    routes.push_back(std::move(run));
    add_files(routes, inside);
    return routes;
}

}  // namespace stoa::api
