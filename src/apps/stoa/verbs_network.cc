// The table's verbs for networks.
#include "apps/stoa/verb_parts.h"

namespace stoa::cli {

std::vector<Verb> network_verbs() {
    const Option subnet{.name = "--subnet",
                        .value = "ADDRESS/BITS",
                        .field = "subnet",
                        .help = "such as 10.77.3.0/24; a free one"};
    const Option domain{.name = "--domain",
                        .value = "NAME",
                        .field = "domain",
                        .help = "guests are NAME.DOMAIN; stoa"};
    const Option bridge{.name = "--bridge",
                        .value = "INTERFACE",
                        .field = "bridge",
                        .help = "mode bridge: the host's bridge"};
    constexpr std::string_view kForward = "[tcp:|udp:][ADDRESS:]PORT:VM:PORT";
    return {
        list_verb("network", "All networks.", {"stoa network list"}),
        show_verb("network", "All that is known of networks, with the addresses they gave out.",
                  {"stoa network show net0"}),
        {.noun = "network",
         .name = "create",
         .summary = "Make a network: a subnet of its own behind the host, or a bridge to the "
                    "host's.",
         .arguments = {new_name()},
         .options = {{.name = "--mode", .value = "nat|bridge", .field = "mode", .help = "nat"},
                     subnet,
                     domain,
                     bridge,
                     {.name = "--forward",
                      .take = Take::forwards,
                      .value = kForward,
                      .field = "forwards",
                      .help = "a port of the host to one of a guest; may be given often"},
                     kLabelsOption},
         .handler = run_create,
         .examples = {"stoa network create net0",
                      "stoa network create web --subnet 10.77.3.0/24 --forward 8080:web1:80",
                      "stoa network create lan --mode bridge --bridge br0"}},
        {.noun = "network",
         .name = "set",
         .summary = "Change networks.",
         .arguments = {many_names("network")},
         .options = {{.name = "--add-forward",
                      .take = Take::forwards,
                      .value = kForward,
                      .field = "add_forwards",
                      .help = "a port of the host to one of a guest; may be given often"},
                     {.name = "--remove-forward",
                      .take = Take::forwards,
                      .value = kForward,
                      .field = "remove_forwards",
                      .help = "as it is; may be given often"},
                     {.name = "--subnet",
                      .value = "ADDRESS/BITS",
                      .field = "subnet",
                      .help = "only while no guest is attached"},
                     domain,
                     bridge,
                     kRenameOption,
                     kAllLabelsOption},
         .handler = run_set,
         .examples = {"stoa network set net0 --add-forward 2222:web1:22"}},
        edit_verb("network", "Change a network in an editor.", {"stoa network edit net0"}),
        delete_verb("network", "Delete networks that no VM is attached to.",
                    {"stoa network delete net0"}),
    };
}

}  // namespace stoa::cli
