// The table's verbs for tasks, events and the host, and those that stand alone.
#include "apps/stoa/commands.h"
#include "apps/stoa/tasks.h"
#include "apps/stoa/verb_parts.h"

namespace stoa::cli {

namespace {

std::vector<Verb> task_verbs() {
    const Argument tasks{
        .name = "TASK", .help = "id; several at once", .noun = "task", .is_many = true};
    return {
        list_verb("task", "Tasks: what is being done, was done, or waits.",
                  {"stoa task list", "stoa task list --filter state=failed"}),
        {.noun = "task",
         .name = "show",
         .summary = "All that is known of tasks: their steps, and what went wrong.",
         .arguments = {tasks},
         .handler = run_show,
         .examples = {"stoa task show 0193f0aa-7c11-7d00-8000-5f3e2a914c01"}},
        {.noun = "task",
         .name = "wait",
         .summary = "Wait until tasks are over; fails if one of them does.",
         .arguments = {tasks},
         .handler = run_task_wait,
         .examples = {"stoa task wait $(stoa vm start web1 --no-wait -q)"}},
        {.noun = "task",
         .name = "cancel",
         .summary = "End tasks before their next step, and take back what they did.",
         .arguments = {tasks},
         .handler = run_task_cancel,
         .examples = {"stoa task cancel 0193f0aa-7c11-7d00-8000-5f3e2a914c01"}},
    };
}

std::vector<Verb> journal_verbs() {
    const Option since{.name = "--since",
                       .take = Take::seconds,
                       .value = "TIME",
                       .help = "only what is not older, such as 1h or 7d"};
    const Option limit{
        .name = "--limit", .take = Take::number, .value = "N", .help = "the newest so many; 50"};
    return {
        {.noun = "event",
         .name = "list",
         .summary = "What happened, oldest first.",
         .options = {since,
                     limit,
                     {.name = "--follow",
                      .take = Take::flag,
                      .help = "and what happens from now on"},
                     {.name = "--kind",
                      .value = "event|decision|audit|task",
                      .help = "only these; event and task"}},
         .handler = run_events,
         .examples = {"stoa event list --since 1h", "stoa event list --follow"}},
        {.noun = "audit",
         .name = "list",
         .summary = "Who changed what, or tried to.",
         .options = {since, limit},
         .handler = run_audit,
         .examples = {"stoa audit list --since 7d -o json"}},
        {.name = "why",
         .summary = "Why something is as it is: the decisions about it, what was weighed, what was "
                    "rejected.",
         .arguments = {{.name = "KIND", .help = "vm, volume, ..."},
                       {.name = "NAME", .help = "name or id"}},
         .options = {limit},
         .handler = run_why,
         .examples = {"stoa why vm web1"}},
    };
}

std::vector<Verb> host_verbs() {
    return {
        list_verb("host", "The machines below.", {"stoa host list"}),
        {.noun = "host",
         .name = "show",
         .summary = "What a machine is, what its guests may use, which accelerator they get and "
                    "why.",
         .arguments = {{.name = "NAME",
                        .help = "name or id; the one that answers",
                        .noun = "host",
                        .is_optional = true}},
         .handler = run_host_show,
         .examples = {"stoa host show"}},
        {.noun = "host",
         .name = "check",
         .summary = "What this machine lacks to run guests well, before there is any trouble.",
         .arguments = {{.name = "NAME",
                        .help = "name or id; the one that answers",
                        .noun = "host",
                        .is_optional = true}},
         .handler = run_host_check,
         .examples = {"stoa host check"}},
        {.noun = "host",
         .name = "set",
         .summary = "Change what guests of a machine may use.",
         .arguments = {many_names("host")},
         .options = {{.name = "--reserve",
                      .take = Take::size,
                      .value = "SIZE",
                      .field = "reserve_bytes",
                      .help = "memory that guests do not get"},
                     {.name = "--undelete-time",
                      .take = Take::seconds,
                      .value = "TIME",
                      .field = "grace_seconds",
                      .help = "how long a deleted VM can be undeleted"},
                     kRenameOption,
                     kAllLabelsOption},
         .handler = run_set,
         .examples = {"stoa host set alpha --reserve 2G"}},
        edit_verb("host", "Change a host in an editor.", {"stoa host edit alpha"}),
    };
}

std::vector<Verb> alone_verbs() {
    return {
        {.name = "apply",
         .summary = "Make things as a file says: creates what is not there, changes what differs.",
         .options = {{.name = "--file",
                      .take = Take::file,
                      .value = "FILE",
                      .help = "JSON documents (-f); -: standard input"}},
         .handler = run_apply,
         .examples = {"stoa apply -f site.json --plan", "stoa apply -f site.json"}},
        {.noun = "support",
         .name = "bundle",
         .summary = "A tar file with all that helps others to help, without secrets.",
         .arguments = {{.name = "FILE",
                        .help = "to be made; -: standard output",
                        .is_optional = true}},
         .handler = run_support_bundle,
         .examples = {"stoa support bundle", "stoa support bundle stoa.tar"}},
        {.name = "completion",
         .summary = "Completion for a shell.",
         .arguments = {{.name = "SHELL", .help = "bash, zsh or fish"},
                       {.name = "WORD",
                        .help = "for their scripts: what was typed",
                        .is_optional = true,
                        .is_many = true}},
         .handler = run_completion,
         .examples = {"source <(stoa completion bash)",
                      "stoa completion fish > ~/.config/fish/completions/stoa.fish"}},
        {.name = "version",
         .summary = "Versions of this program and of the daemon.",
         .handler = run_version,
         .examples = {"stoa version"}},
        {.name = "help",
         .summary = "Help of a command.",
         .arguments =
             {{.name = "COMMAND", .help = "noun and verb", .is_optional = true, .is_many = true}},
         .options = {{.name = "--markdown",
                      .take = Take::flag,
                      .help = "all commands, as a document"}},
         .handler = run_help,
         .examples = {"stoa help vm create"}},
    };
}

}  // namespace

std::vector<Verb> system_verbs() {
    std::vector<Verb> all;
    for (auto part : {task_verbs(), journal_verbs(), host_verbs(), alone_verbs()}) {
        for (Verb& verb : part) all.push_back(std::move(verb));
    }
    return all;
}

}  // namespace stoa::cli
