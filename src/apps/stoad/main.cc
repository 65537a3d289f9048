// stoad: the control plane of one host; see docs/stoad.md.
#include <csignal>
#include <string>

#include <CLI/CLI.hpp>

#include "apps/stoad/commands.h"
#include "base/output.h"

using namespace stoa::apps::stoad;

namespace {

std::string directory_of_program(const char* name) {
    const std::string path = own_program(name);
    const size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : path.substr(0, slash);
}

void add_serve_options(CLI::App& app, Options& options) {
    app.add_option("--listen", options.listen, "ADDRESS:PORT of the API, or none")
        ->envname("STOA_LISTEN")
        ->capture_default_str();
    app.add_option("--helpers", options.helpers,
                   "Directory of stoa-launch and stoa-blockd (default: that of stoad)");
    app.add_option("--qemu", options.qemu, "Path of qemu-system-x86_64 (default: found)");
    app.add_flag("!--no-blockd", options.starts_blockd,
                 "Do not start stoa-blockd: a service manager does");
    app.add_flag("!--no-kvm", options.allows_kvm, "Run all guests under software emulation");
    app.add_option("--uid-first", options.uid_first, "First user id for guests, as root")
        ->capture_default_str();
    app.add_option("--uid-count", options.uid_count, "How many user ids there are for guests")
        ->check(CLI::Range(1U, 1'000'000'000U))
        ->capture_default_str();
    app.add_option("--reconnect", options.reconnect_seconds,
                   "Seconds that disks wait for stoa-blockd before guests are stopped")
        ->check(CLI::Range(1U, 86'400U))
        ->capture_default_str();
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("The control plane of one host.", "stoad");
    app.set_version_flag("--version", std::string("stoad ") + STOA_VERSION);
    Options options;
    app.add_option("--root", options.root, "Directory of this instance")
        ->required()
        ->envname("STOA_ROOT");
    add_serve_options(app, options);
    app.require_subcommand(0, 1);
    std::string user;
    CLI::App* recover = app.add_subcommand(
        "recover-administrator",
        "Make a user an administrator, with the password that is read from standard input");
    recover->add_option("NAME", user, "Made if it does not exist")->required();
    CLI::App* renew = app.add_subcommand("renew-certificate", "Make the API's certificate anew");
    CLI::App* restored = app.add_subcommand(
        "begin-restored", "After state.db was put back from a copy: what clients know is void");
    CLI11_PARSE(app, argc, argv);
    while (options.root.size() > 1 && options.root.ends_with('/')) options.root.pop_back();
    if (options.helpers.empty()) options.helpers = directory_of_program(argv[0]);
    std::signal(SIGPIPE, SIG_IGN);
    if (recover->parsed()) return recover_administrator(options, user);
    if (renew->parsed()) return renew_certificate(options);
    if (restored->parsed()) return begin_restored(options);
    return serve(options);
}
