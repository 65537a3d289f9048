// What the steps of this folder have in common. Inside of it.
#pragma once

#include <concepts>
#include <string_view>

#include <fmt/format.h>

#include "controlplane/records/records.h"
#include "controlplane/storage/blockd.h"
#include "controlplane/storage/plan_parts.h"
#include "controlplane/storage/steps.h"
#include "controlplane/task/step.h"

namespace stoa::storage {

// Reads the arguments and hands them on.
template <class Arguments>
class TypedStep : public task::StepType {
public:
    TypedStep(records::Records& its_records, Blockd& its_blockd)
        : records(its_records), blockd(its_blockd) {}

    [[nodiscard]] std::string_view name() const final { return Arguments::kType; }
    Async<bool> is_done(task::StepContext& context) final {
        Arguments arguments;
        CO_TRY(from_json(context.step().arguments, arguments));
        co_return co_await done(std::move(arguments), context);
    }
    Async<> run(task::StepContext& context) final {
        Arguments arguments;
        CO_TRY(from_json(context.step().arguments, arguments));
        co_return co_await make(std::move(arguments), context);
    }
    Async<> undo(task::StepContext& context) final {
        Arguments arguments;
        CO_TRY(from_json(context.step().arguments, arguments));
        co_return co_await take_back(std::move(arguments), context);
    }

protected:
    virtual Async<bool> done(Arguments arguments, task::StepContext& context) = 0;
    virtual Async<> make(Arguments arguments, task::StepContext& context) = 0;
    virtual Async<> take_back(Arguments arguments, task::StepContext& context) = 0;

    records::Records& records;
    Blockd& blockd;
};

using StepTypes = std::vector<std::unique_ptr<task::StepType>>;
void add_pool_steps(StepTypes& into, records::Records& records, Blockd& blockd);
void add_volume_steps(StepTypes& into, records::Records& records, Blockd& blockd);
void add_snapshot_steps(StepTypes& into, records::Records& records, Blockd& blockd);

// Changes the record's spec, name or labels as it is then; nothing happens if `change` changes
// nothing, or there is no such record. Errors: as Records::commit, except conflict.
template <class Kind, std::invocable<model::Record<Kind>&> Change>
Async<> change_record(records::Records& records, Uuid id, Change change) {
    for (;;) {
        const model::Record<Kind>* found = records.get<Kind>(id);
        if (found == nullptr) co_return Result<void>();
        model::Record<Kind> wanted = *found;
        change(wanted);
        if (to_json(wanted) == to_json(*found)) co_return Result<void>();
        state::Txn txn;
        records::replace(txn, *found, wanted);
        const auto committed = co_await records.commit(std::move(txn));
        if (committed.ok()) co_return Result<void>();
        if (committed.error().code() != ErrorCode::conflict) co_return committed.error();
    }
}

// Changes the status; likewise.
template <class Kind, std::invocable<typename Kind::Status&> Change>
Async<> change_status(records::Records& records, Uuid id, Change change) {
    const model::Record<Kind>* found = records.get<Kind>(id);
    if (found == nullptr) co_return Result<void>();
    typename Kind::Status status = found->status;
    change(status);
    if (to_json(status) == to_json(found->status)) co_return Result<void>();
    state::Txn txn;
    records::put_status<Kind>(txn, id, status);
    const auto committed = co_await records.commit(std::move(txn));
    if (!committed.ok()) co_return committed.error();
    co_return Result<void>();
}

template <class Kind>
Async<> set_state(records::Records& records, Uuid id, model::StorageState state,
                  std::string reason) {
    co_return co_await change_status<Kind>(records, id, [&](typename Kind::Status& status) {
        status.state = state;
        status.reason = reason;
    });
}

template <class Kind>
bool has_state(const records::Records& records, const Uuid& id, model::StorageState state) {
    const model::Record<Kind>* found = records.get<Kind>(id);
    return found != nullptr && found->status.state == state;
}

// A step's record that is not there: somebody took it away meanwhile.
template <class Kind>
Result<void> check_recorded(const records::Records& records, const Uuid& id) {
    if (records.get<Kind>(id) != nullptr) return {};
    return Error(ErrorCode::not_found,
                 fmt::format("{} {} has no record any more", Kind::kName, id.to_string()));
}

}  // namespace stoa::storage
