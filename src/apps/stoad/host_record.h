// The record of the host that this control plane runs on, and what is known of the machine.
#pragma once

#include <string>

#include "controlplane/host/facts.h"
#include "controlplane/host/kvm_probe.h"
#include "controlplane/machine/admission.h"
#include "controlplane/machine/services.h"
#include "controlplane/records/records.h"
#include "controlplane/task/plan.h"

namespace stoa::apps::stoad {

// Its id; made at the first start, called like the machine.
Async<Uuid> ensure_host_record(records::Records& records, std::string host_name, task::Ids& ids);

// What the machine is, for its record.
[[nodiscard]] model::HostStatus host_status(const host::HostFacts& facts,
                                            const host::KvmProbe& probe, bool uses_kvm,
                                            const std::vector<host::Finding>& findings);
Async<> write_host_status(records::Records& records, Uuid host, model::HostStatus status);

// For guests, with what the data plane takes for the pools that there are.
[[nodiscard]] machine::MemoryBudget memory_budget(const records::Records& records, const Uuid& host,
                                                  const host::Memory& memory);

}  // namespace stoa::apps::stoad
