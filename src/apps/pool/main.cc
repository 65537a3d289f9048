// stoa-pool: makes, shows and checks pools while no other program has them open.
// For users: docs/howto/stoa-pool.md.
#include <CLI/CLI.hpp>

#include "apps/pool/commands.h"
#include "base/output.h"

namespace {

using namespace stoa::apps::pool;

void add_devices(CLI::App& command, std::vector<std::string>& devices) {
    command.add_option("devices", devices, "Files or block devices of the pool, in any order")
        ->required()
        ->type_name("DEVICE");
}

void add_accept_missing(CLI::App& command, bool& accepts) {
    command.add_flag("--accept-missing-devices", accepts,
                     "Although devices of the pool are not given");
}

struct Commands {
    CreateCommand create;
    InfoCommand info;
    FsckCommand fsck;
    DumpCommand dump;
    ExplainCommand explain;
    int exit_code = kFailed;
};

void declare_create(CLI::App& app, Commands& commands) {
    CLI::App* command = app.add_subcommand("create", "Make a new, empty pool");
    CreateCommand& create = commands.create;
    command->add_option("--name", create.name, "Name of the pool, at most 31 bytes")->required();
    command->add_option("--size", create.size,
                        "Make each device as a sparse file of this size (K, M, G, T)");
    command->add_flag("--force", create.force, "Overwrite what looks like other data");
    add_devices(*command, create.devices);
    command->callback([&commands] { commands.exit_code = run_create(commands.create); });
}

void declare_info(CLI::App& app, Commands& commands) {
    CLI::App* command = app.add_subcommand("info", "Show a pool: devices, space, volumes");
    command->add_flag("--json", commands.info.json, "As one JSON object");
    add_accept_missing(*command, commands.info.accept_missing_devices);
    add_devices(*command, commands.info.devices);
    command->callback([&commands] { commands.exit_code = run_info(commands.info); });
}

void declare_fsck(CLI::App& app, Commands& commands) {
    CLI::App* command = app.add_subcommand("fsck", "Check a pool; never writes");
    FsckCommand& fsck = commands.fsck;
    command->add_flag("--data", fsck.data, "Also read and verify every data block");
    command->add_flag("--json", fsck.json, "As one JSON object");
    command->add_flag("--online", fsck.online, "Although it is in use: look twice at problems");
    add_devices(*command, fsck.devices);
    command->callback([&commands] { commands.exit_code = run_fsck(commands.fsck); });
}

void declare_dump(CLI::App& app, Commands& commands) {
    CLI::App* command =
        app.add_subcommand("dump", "Print metadata as JSON lines, without user data");
    command->add_flag("--nodes", commands.dump.nodes, "Also every map node");
    command->add_flag("--online", commands.dump.online, "Although it is in use");
    add_devices(*command, commands.dump.devices);
    command->callback([&commands] { commands.exit_code = run_dump(commands.dump); });
}

void declare_explain(CLI::App& app, Commands& commands) {
    CLI::App* command = app.add_subcommand("explain", "Show where one block of a volume lies");
    ExplainCommand& explain = commands.explain;
    command->add_option("--volume", explain.volume, "Name of a volume, or uuid of it or a snapshot")
        ->required();
    command->add_option("--offset", explain.offset, "Byte in the volume (K, M, G, T)")->required();
    command->add_flag("--json", explain.json, "As one JSON object");
    add_accept_missing(*command, explain.accept_missing_devices);
    add_devices(*command, explain.devices);
    command->callback([&commands] { commands.exit_code = run_explain(commands.explain); });
}

int run(int argc, char** argv) {
    CLI::App app("Makes, shows and checks pools that no other program has open.", "stoa-pool");
    app.set_version_flag("--version", "stoa-pool " STOA_VERSION);
    app.require_subcommand(1);
    Commands commands;
    declare_create(app, commands);
    declare_info(app, commands);
    declare_fsck(app, commands);
    declare_dump(app, commands);
    declare_explain(app, commands);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? kOk : kFailed;
    }
    return commands.exit_code;
}

}  // namespace

int main(int argc, char** argv) {
    const int exit_code = run(argc, argv);
    // What was only buffered until now may still fail: no success without its output.
    return stoa::finish_output("stoa-pool") ? exit_code : kFailed;
}
