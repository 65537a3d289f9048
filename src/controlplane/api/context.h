// Context: what the handlers of the API work with. All of it outlives the API.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/uuid.h"
#include "controlplane/host/clock.h"
#include "controlplane/host/random.h"
#include "controlplane/http/authorizer.h"
#include "controlplane/http/metrics.h"
#include "controlplane/http/tickets.h"
#include "controlplane/journal/journal.h"
#include "controlplane/records/records.h"
#include "controlplane/state/store.h"
#include "controlplane/task/engine.h"
#include "controlplane/task/plan_tokens.h"

namespace stoa::api {

struct About {
    std::string version;                // of Stoa
    std::string instance;               // 8 hexadecimal digits
    Uuid host;                          // the id of its record
    std::vector<std::string> features;  // "kvm", "nat"
};

// Borrowed: outlive the API.
struct Parts {
    state::Store& store;
    records::Records& records;
    task::Engine& engine;
    journal::Journal& journal;
    http::Authorizer& authorizer;
    host::Clock& clock;
    host::Random& random;
    About about;
};

// One thread.
struct Context : Parts {
    explicit Context(const Parts& parts);

    // For the POST that gives a ticket: tickets.issue(request.principal, request.path).
    http::Tickets tickets;
    task::PlanTokens plan_tokens;
    http::RequestMetrics requests;
    // By kind: what a record is doing just now, an object that is shown as its "live" and never
    // stored, such as memory used; null: nothing. Must not wait.
    std::map<std::string, std::function<Json(const Uuid&)>, std::less<>> live;
    // Further metrics; each call puts its families into the text of /metrics.
    std::vector<std::function<void(http::MetricsText&)>> metrics;
    // Further lines of /healthz: what is wrong, or an empty text.
    std::vector<std::function<std::string()>> health;
};

}  // namespace stoa::api
