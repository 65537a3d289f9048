// The table's verbs that do something to virtual machines, or in them.
#include "apps/stoa/commands.h"
#include "apps/stoa/verb_parts.h"

namespace stoa::cli {

namespace {

Verb power_verb(std::string_view name, std::string_view summary, std::string_view path,
                std::string_view done, std::vector<std::string_view> examples) {
    return {.noun = "vm",
            .name = name,
            .summary = summary,
            .arguments = {many_names("vm")},
            .handler = run_action,
            .path = path,
            .done = done,
            .examples = std::move(examples)};
}

std::vector<Verb> power_verbs() {
    Verb stop = power_verb(
        "stop", "Stop virtual machines: by their agent, then by ACPI, then off.", "/stop",
        "stopped",
        {"stoa vm stop web1", "stoa vm stop web1 --timeout 2m", "stoa vm stop web1 web2 --force"});
    stop.options = {{.name = "--force",
                     .take = Take::flag,
                     .field = "force",
                     .help = "off at once, as by a loss of power"},
                    {.name = "--timeout",
                     .take = Take::seconds,
                     .value = "TIME",
                     .field = "timeout_seconds",
                     .help = "how long the guest may take before it is turned off; 60s"}};
    Verb restart = power_verb("restart", "Stop virtual machines and start them again.", "/restart",
                              "restarted", {"stoa vm restart web1"});
    restart.options = stop.options;
    Verb reset = power_verb("reset", "Reset virtual machines, as the button of a machine does.",
                            "/reset", "reset", {"stoa vm reset web1 --yes"});
    reset.danger = "Reset without shutting down";
    return {power_verb("start", "Start virtual machines.", "/start", "started",
                       {"stoa vm start web1", "stoa vm start web1 web2 --no-wait"}),
            stop,
            restart,
            power_verb("pause", "Stop the CPUs of virtual machines.", "/pause", "paused",
                       {"stoa vm pause web1"}),
            power_verb("resume", "Let paused virtual machines go on.", "/resume", "goes on",
                       {"stoa vm resume web1"}),
            reset};
}

std::vector<Verb> copy_verbs() {
    const Option start{
        .name = "--start", .take = Take::flag, .field = "start", .help = "afterwards"};
    const Argument snapshot{
        .name = "SNAPSHOT", .help = "name or id", .noun = "snapshot", .field = "snapshot"};
    return {
        {.noun = "vm",
         .name = "snapshot",
         .summary = "Take a snapshot of all disks of a virtual machine at one instant.",
         .arguments = {one_name("vm"), {.name = "SNAPSHOT", .help = "its name", .field = "name"}},
         .options = {{.name = "--crash-consistent",
                      .take = Take::flag,
                      .field = "crash_consistent",
                      .help = "do not freeze the guest"},
                     {.name = "--freeze",
                      .take = Take::seconds,
                      .value = "TIME",
                      .field = "freeze_seconds",
                      .help = "how long freezing may take; then crash-consistent; 10s"}},
         .handler = run_action,
         .path = "/snapshot",
         .done = "has a snapshot",
         .examples = {"stoa vm snapshot web1 before-upgrade"}},
        {.noun = "vm",
         .name = "rollback",
         .summary = "Set the disks of a virtual machine back; a safety snapshot is taken before.",
         .arguments = {one_name("vm"), snapshot},
         .options = {start},
         .handler = run_action,
         .path = "/rollback",
         .done = "rolled back",
         .danger = "Roll back",
         .examples = {"stoa vm rollback web1 before-upgrade --start"}},
        {.noun = "vm",
         .name = "clone",
         .summary = "Make a virtual machine with a copy of all disks, at once.",
         .arguments = {one_name("vm"), {.name = "NEW", .help = "its name", .field = "name"}},
         .options = {{.name = "--snapshot",
                      .value = "SNAPSHOT",
                      .field = "snapshot",
                      .help = "as it was then; else as it is now",
                      .noun = "snapshot"},
                     start},
         .handler = run_action,
         .path = "/clone",
         .done = "cloned",
         .examples = {"stoa vm clone web1 web2 --start"}}};
}

std::vector<Verb> inside_verbs() {
    return {{.noun = "vm",
             .name = "console",
             .summary = "The serial console of a virtual machine; Ctrl-] leaves it.",
             .arguments = {one_name("vm")},
             .options = {{.name = "--escape",
                          .value = "KEY",
                          .help = "the key that leaves, such as ^] or ^A (STOA_ESCAPE)"}},
             .handler = run_console,
             .examples = {"stoa vm console web1"}},
            {.noun = "vm",
             .name = "exec",
             .summary = "Run a program in the guest, by its agent, and end with its exit code.",
             .arguments = {one_name("vm"),
                           {.name = "COMMAND",
                            .help = "program and arguments; no shell",
                            .is_many = true}},
             .options = {{.name = "--env",
                          .take = Take::labels,
                          .value = "KEY=VALUE",
                          .help = "of its environment; may be given often"},
                         {.name = "--stdin",
                          .take = Take::flag,
                          .help = "give it what stands on standard input"}},
             .handler = run_exec,
             .examples = {"stoa vm exec web1 -- uname -a",
                          "stoa vm exec web1 -- sh -c 'echo $HOSTNAME'",
                          "stoa vm exec web1 --stdin -- tee /etc/motd < motd"}},
            {.noun = "vm",
             .name = "push",
             .summary = "Copy a file into the guest, by its agent.",
             .arguments = {one_name("vm"),
                           {.name = "FILE", .help = "of this machine; -: standard input"},
                           {.name = "PATH", .help = "in the guest"}},
             .handler = run_push,
             .examples = {"stoa vm push web1 site.tar /tmp/site.tar"}},
            {.noun = "vm",
             .name = "pull",
             .summary = "Copy a file out of the guest, by its agent.",
             .arguments = {one_name("vm"),
                           {.name = "PATH", .help = "in the guest"},
                           {.name = "FILE", .help = "of this machine; -: standard output"}},
             .handler = run_pull,
             .examples = {"stoa vm pull web1 /etc/hostname -"}},
            {.noun = "vm",
             .name = "logs",
             .summary = "What a virtual machine wrote on its serial console.",
             .arguments = {one_name("vm")},
             .handler = run_logs,
             .examples = {"stoa vm logs web1"}},
            {.noun = "vm",
             .name = "screenshot",
             .summary = "The screen of a virtual machine, as PNG.",
             .arguments = {one_name("vm"), {.name = "FILE", .help = "-: standard output"}},
             .handler = run_screenshot,
             .examples = {"stoa vm screenshot web1 web1.png"}}};
}

}  // namespace

std::vector<Verb> vm_action_verbs() {
    std::vector<Verb> all = power_verbs();
    for (auto part : {copy_verbs(), inside_verbs()}) {
        for (Verb& verb : part) all.push_back(std::move(verb));
    }
    return all;
}

}  // namespace stoa::cli
