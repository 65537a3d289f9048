#include "controlplane/api/vm_routes.h"

#include <utility>

#include "controlplane/api/route_parts.h"
#include "controlplane/http/query.h"
#include "controlplane/machine/plan_parts.h"

namespace stoa::api {

namespace {

using http::Request;
using http::Route;
using model::Vm;
using task::Ids;

struct NoBody {
    static constexpr auto fields() { return std::tuple(); }
};

struct VmUndelete {
    std::string name;
    static constexpr auto fields() {
        return std::tuple(optional("name", &VmUndelete::name, "a new one, if its own is taken"));
    }
};

using PlainPlanner = Result<task::Plan> (*)(const machine::PlanContext&, std::string_view);
template <class Body>
using BodyPlanner = Result<task::Plan> (*)(const machine::PlanContext&, std::string_view,
                                           const Body&);

Route plain_verb(const VmPlanning& planning, const std::string& verb, std::string summary,
                 PlainPlanner plan) {
    return verb_route<Vm, NoBody>(
        verb, std::move(summary),
        with_body<NoBody>(
            [planning, plan](const NoBody& /*body*/, const Request& request, Ids& ids) {
                return plan(planning(ids), request.parameter("vm"));
            }));
}

template <class Body>
Route body_verb(const VmPlanning& planning, const std::string& verb, std::string summary,
                BodyPlanner<Body> plan) {
    return verb_route<Vm, Body>(
        verb, std::move(summary),
        with_body<Body>([planning, plan](const Body& body, const Request& request, Ids& ids) {
            return plan(planning(ids), request.parameter("vm"), body);
        }));
}

}  // namespace

std::vector<Route> vm_routes(Context& context, machine::Guests& guests,
                             const machine::Settings& settings, const VmPlanning& planning) {
    std::vector<Route> routes;
    routes.push_back(create_route<Vm, model::VmCreate>(with_body<model::VmCreate>(
        [planning](const model::VmCreate& body, const Request& /*request*/, Ids& ids) {
            return machine::plan_create(planning(ids), body);
        })));
    routes.push_back(set_route<Vm, model::VmSet>(with_body<model::VmSet>(
        [planning](const model::VmSet& body, const Request& request, Ids& ids) {
            return machine::plan_set(planning(ids), request.parameter("vm"), body);
        })));
    Route erase =
        delete_route<Vm>({[planning](const Request& request, Ids& ids) -> Result<task::Plan> {
            TRY_ASSIGN(const auto options, http::options_of<model::VmDelete>(request));
            return machine::plan_delete(planning(ids), request.parameter("vm"), options);
        }});
    erase.query = http::parameters_of<model::VmDelete>();
    routes.push_back(std::move(erase));
    routes.push_back(body_verb<VmUndelete>(
        planning, "undelete", "Brings a deleted VM back",
        [](const machine::PlanContext& with, std::string_view vm, const VmUndelete& body) {
            return machine::plan_undelete(with, vm, body.name);
        }));
    routes.push_back(plain_verb(planning, "start", "Starts a VM", machine::plan_start));
    routes.push_back(plain_verb(planning, "pause", "Stops the CPUs of a VM", machine::plan_pause));
    routes.push_back(
        plain_verb(planning, "resume", "Lets a paused VM go on", machine::plan_resume));
    routes.push_back(plain_verb(planning, "reset", "Resets a VM", machine::plan_reset));
    routes.push_back(body_verb<model::VmStop>(planning, "stop", "Stops a VM", machine::plan_stop));
    routes.push_back(body_verb<model::VmStop>(planning, "restart", "Stops a VM and starts it again",
                                              machine::plan_restart));
    routes.push_back(body_verb<model::VmSnapshot>(planning, "snapshot",
                                                  "Snapshots all disks of a VM at one instant",
                                                  machine::plan_snapshot));
    routes.push_back(body_verb<model::VmRollback>(
        planning, "rollback", "Sets the disks of a VM back to a snapshot", machine::plan_rollback));
    routes.push_back(
        body_verb<model::VmClone>(planning, "clone", "Makes a copy of a VM", machine::plan_clone));
    for (Route& route : vm_guest_routes(context, guests, settings)) {
        routes.push_back(std::move(route));
    }
    return routes;
}

Json live_vm(const records::Records& records, const machine::Settings& /*settings*/,
             const host::CgroupTree& cgroups, const host::Clock& clock, const Uuid& vm) {
    JsonObject live;
    const auto* record = records.get<Vm>(vm);
    if (record == nullptr || !record->status.launch) return live;
    const bool runs = machine::has_process(record->status);
    if (runs) {
        live["uptime_ns"] = clock.wall_ns() - record->status.launch->started_ns;
        const auto use = cgroups.get("vms/" + vm.to_string()).use();
        if (use.memory_bytes) live["memory_bytes"] = *use.memory_bytes;
        if (use.cpu_ns) live["cpu_ns"] = *use.cpu_ns;
        JsonArray pending;
        for (const std::string& change :
             model::pending_changes(record->status.launch->spec, record->spec)) {
            pending.push_back(Json(change));
        }
        live["pending"] = std::move(pending);
    }
    return live;
}

}  // namespace stoa::api
