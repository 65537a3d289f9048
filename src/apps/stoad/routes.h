// The table of the API's routes: those of every folder, put together.
#pragma once

#include <vector>

#include "controlplane/access/access.h"
#include "controlplane/api/context.h"
#include "controlplane/api/vm_routes.h"
#include "controlplane/host/facts.h"
#include "controlplane/machine/guests.h"
#include "controlplane/network/networks.h"
#include "controlplane/storage/blockd.h"

namespace stoa::apps::stoad {

// Borrowed for the life of the API.
struct RouteParts {
    api::Context& context;
    machine::Guests& guests;
    network::Networks& networks;
    access::Access& access;
    storage::Blockd& blockd;
    const host::CgroupTree& cgroups;
    const machine::Settings& settings;
    const host::FactsOptions& facts_options;
    api::VmPlanning planning;
};

[[nodiscard]] std::vector<http::Route> all_routes(const RouteParts& parts);

}  // namespace stoa::apps::stoad
