// The steps of tasks that concern networks (networks.h).
#include <fmt/format.h>

#include "controlplane/network/networks.h"
#include "controlplane/task/record_step.h"

namespace stoa::network {

namespace {

// Errors: invalid_argument.
Result<Uuid> id_of(const model::Step& step, std::string_view name) {
    const JsonObject* arguments = step.arguments.if_object();
    const Json* value = arguments == nullptr ? nullptr : arguments->if_contains(name);
    Uuid id;
    if (value == nullptr) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("step {}: lacks the argument {}", step.type, name));
    }
    TRY(from_json(*value, id, name));
    return id;
}

class ApplyStep final : public task::StepType {
public:
    ApplyStep(Networks& networks, records::Records& records)
        : networks_(networks), records_(records) {}

    [[nodiscard]] std::string_view name() const override { return "network.apply"; }
    Async<bool> is_done(task::StepContext& /*context*/) override { co_return false; }
    Async<> run(task::StepContext& context) override {
        CO_TRY_ASSIGN(const Uuid id, id_of(context.step(), "network"));
        co_return co_await networks_.apply(id);
    }
    Async<> undo(task::StepContext& context) override {
        CO_TRY_ASSIGN(const Uuid id, id_of(context.step(), "network"));
        const Json* before = context.step().arguments.get_object().if_contains("before");
        if (before == nullptr || before->is_null()) co_return Result<void>();  // erased afterwards
        model::NetworkSpec spec;
        CO_TRY(from_json(*before, spec, "before"));
        const auto* record = records_.get<model::Network>(id);
        if (record == nullptr) co_return Result<void>();
        model::Record<model::Network> after = *record;
        after.spec = std::move(spec);
        state::Txn txn;
        records::replace<model::Network>(txn, *record, after);
        const auto done = co_await records_.commit(std::move(txn));
        if (!done.ok()) co_return done.error();
        co_return Result<void>();
    }

    // The spec, which the plan's intent changed.
    [[nodiscard]] bool undoes_intent() const override { return true; }

private:
    Networks& networks_;
    records::Records& records_;
};

class CleanStep final : public task::StepType {
public:
    explicit CleanStep(Networks& networks) : networks_(networks) {}

    [[nodiscard]] std::string_view name() const override { return "network.clean"; }
    Async<bool> is_done(task::StepContext& /*context*/) override { co_return false; }
    Async<> run(task::StepContext& context) override {
        CO_TRY_ASSIGN(const Uuid id, id_of(context.step(), "network"));
        co_return co_await networks_.clean(id);
    }
    Async<> undo(task::StepContext& /*context*/) override { co_return Result<void>(); }

private:
    Networks& networks_;
};

class LeaseStep final : public task::StepType {
public:
    explicit LeaseStep(Networks& networks) : networks_(networks) {}

    [[nodiscard]] std::string_view name() const override { return "network.lease"; }
    Async<bool> is_done(task::StepContext& /*context*/) override { co_return false; }
    Async<> run(task::StepContext& context) override {
        CO_TRY_ASSIGN(const Uuid vm, id_of(context.step(), "vm"));
        std::string nic;
        const Json* value = context.step().arguments.get_object().if_contains("nic");
        if (value != nullptr) CO_TRY(from_json(*value, nic, "nic"));
        const auto lease = co_await networks_.lease(vm, nic);
        if (!lease.ok()) co_return lease.error();
        co_return Result<void>();
    }
    // The lease ends with the NIC, which the plan's first step takes back.
    Async<> undo(task::StepContext& /*context*/) override { co_return Result<void>(); }

private:
    Networks& networks_;
};

}  // namespace

std::vector<std::unique_ptr<task::StepType>> step_types(Networks& networks,
                                                        records::Records& records) {
    std::vector<std::unique_ptr<task::StepType>> types;
    types.push_back(std::make_unique<ApplyStep>(networks, records));
    types.push_back(std::make_unique<CleanStep>(networks));
    types.push_back(std::make_unique<LeaseStep>(networks));
    types.push_back(std::make_unique<task::RecordStep<model::Network>>(records));
    return types;
}

model::Step lease_step(const Uuid& vm, std::string_view nic) {
    return {"network.lease", JsonObject{{"vm", vm.to_string()}, {"nic", nic}},
            fmt::format("give NIC {} its address", nic)};
}

}  // namespace stoa::network
