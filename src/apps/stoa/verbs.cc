#include "apps/stoa/verbs.h"

#include <algorithm>
#include <iterator>

namespace stoa::cli {

const std::vector<Noun>& nouns() {
    static const std::vector<Noun> kNouns{
        {"vm", "vms", "virtual machines"},
        {"image", "images", "what virtual machines are made from"},
        {"volume", "volumes", "disks in pools"},
        {"snapshot", "snapshots", "of volumes, and of all disks of a VM"},
        {"pool", "pools", "where volumes are kept"},
        {"network", "networks", "what virtual machines are attached to"},
        {"task", "tasks", "what is being done, was done, or waits"},
        {"event", "events", "what happened"},
        {"audit", "audit", "who changed what"},
        {"user", "users", "who may log in"},
        {"role", "roles", "what users may do"},
        {"token", "tokens", "for programs that act for a user"},
        {"host", "hosts", "the machines below"},
        {"remote", "remotes", "control planes of other machines"},
        {"support", "", "help from others"},
    };
    return kNouns;
}

const Noun* find_noun(std::string_view name) {
    const auto found = std::ranges::find(nouns(), name, &Noun::name);
    return found == nouns().end() ? nullptr : &*found;
}

const std::vector<Verb>& verbs() {
    static const std::vector<Verb> kVerbs = [] {
        std::vector<Verb> all;
        for (auto part : {vm_verbs(), vm_action_verbs(), storage_verbs(), network_verbs(),
                          access_verbs(), system_verbs()}) {
            std::ranges::move(part, std::back_inserter(all));
        }
        return all;
    }();
    return kVerbs;
}

const Verb* find_verb(std::string_view noun, std::string_view name) {
    const auto found = std::ranges::find_if(
        verbs(), [&](const Verb& verb) { return verb.noun == noun && verb.name == name; });
    return found == verbs().end() ? nullptr : &*found;
}

const std::vector<Option>& global_options() {
    static const std::vector<Option> kOptions{
        {.name = "--remote",
         .value = "NAME",
         .help = "ask this remote instead of this machine (-r; STOA_REMOTE); \"local\": this one",
         .noun = "remote"},
        {.name = "--socket",
         .take = Take::file,
         .value = "PATH",
         .help = "the daemon's socket (STOA_SOCKET)"},
        {.name = "--root",
         .take = Take::file,
         .value = "DIR",
         .help = "the instance that keeps its state there (STOA_ROOT)"},
        {.name = "--output", .value = "FORMAT", .help = "table, json or yaml (-o)"},
        {.name = "--quiet", .take = Take::flag, .help = "ids only (-q)"},
        {.name = "--filter",
         .take = Take::list,
         .value = "FIELD=VALUE",
         .help = "of lists: only those, such as state=running or name=web*; may be given often"},
        {.name = "--plan", .take = Take::flag, .help = "show what would be done, do nothing"},
        {.name = "--wait", .take = Take::flag, .help = "until what was begun is over; the default"},
        {.name = "--no-wait", .take = Take::flag, .help = "print the task that does it, and end"},
        {.name = "--yes",
         .take = Take::flag,
         .help = "do not ask (-y); without a terminal nothing that loses data is done without it"},
        {.name = "--timeout",
         .take = Take::seconds,
         .value = "TIME",
         .help = "how long to wait at most, such as 30s or 5m"},
        {.name = "--help", .take = Take::flag, .help = "of this command (-h)"},
    };
    return kOptions;
}

}  // namespace stoa::cli
