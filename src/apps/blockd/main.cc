// stoa-blockd: opens pools and serves their volumes; see docs/blockd.md.
#include <CLI/CLI.hpp>
#include <string>

#include "apps/blockd/commands.h"

using namespace stoa::apps::blockd;

int main(int argc, char** argv) {
    CLI::App app("Opens Stoa pools and serves their volumes.", "stoa-blockd");
    app.set_version_flag("--version", std::string("stoa-blockd ") + STOA_VERSION);
    app.fallthrough();
    ServeOptions options;
    app.add_option("--root", options.root, "Directory of this instance")
        ->required()
        ->envname("STOA_ROOT");
    app.add_option("--runtime", options.runtime,
                   "Directory on a tmpfs for acknowledged writes (default: chosen)");
    app.add_option("--cache", options.cache_bytes, "Memory for maps, of each pool")
        ->transform(CLI::AsSizeValue(false))
        ->check(CLI::Range(uint64_t{1} << 20, uint64_t{1} << 40))
        ->capture_default_str();
    app.require_subcommand(0, 1);

    std::string method;
    std::string params = "{}";
    CLI::App* calling = app.add_subcommand("call", "Call a method of the running daemon");
    calling->add_option("METHOD", method, "For example pool.list; rpc.methods lists them")
        ->required();
    calling->add_option("PARAMS", params, "A JSON object")->capture_default_str();
    CLI::App* following = app.add_subcommand("events", "Print events of the running daemon");

    CLI11_PARSE(app, argc, argv);
    while (options.root.size() > 1 && options.root.ends_with('/')) options.root.pop_back();
    if (calling->parsed()) return call(options.root, method, params);
    if (following->parsed()) return follow_events(options.root);
    return serve(options);
}
