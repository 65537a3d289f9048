// Steps about the record of what a task makes or removes, for every kind.
//
// RecordStep ("vm.record"): the intent of the plan created the record; this step, put first, takes
// it back when the task is undone. ForgetStep ("vm.forget"): put last, erases the record of what
// the steps before it removed. Arguments of both: {"id": ID}.
#pragma once

#include <string>
#include <utility>

#include "controlplane/records/records.h"
#include "controlplane/task/step.h"

namespace stoa::task {

// The id in a step's arguments. Errors: invalid_argument.
[[nodiscard]] Result<Uuid> id_argument(const model::Step& step);
[[nodiscard]] Json id_arguments(const Uuid& id);

// Erases the record if it is there, however often it is changed meanwhile.
// Errors: as Records::commit, except conflict.
template <class Kind>
Async<> erase_record(records::Records& records, Uuid id) {
    for (;;) {
        const model::Record<Kind>* record = records.get<Kind>(id);
        if (record == nullptr) co_return Result<void>();
        state::Txn txn;
        records::erase(txn, *record);
        const auto done = co_await records.commit(std::move(txn));
        if (done.ok()) co_return Result<void>();
        if (done.error().code() != ErrorCode::conflict) co_return done.error();
    }
}

template <class Kind>
class RecordStep final : public StepType {
public:
    explicit RecordStep(records::Records& records) : records_(records) {}
    static model::Step step(const Uuid& id, std::string text) {
        return {std::string(Kind::kName) + ".record", id_arguments(id), std::move(text)};
    }

    [[nodiscard]] std::string_view name() const override { return name_; }
    Async<bool> is_done(StepContext& /*context*/) override { co_return true; }
    Async<> run(StepContext& /*context*/) override { co_return Result<void>(); }
    Async<> undo(StepContext& context) override {
        CO_TRY_ASSIGN(const Uuid id, id_argument(context.step()));
        co_return co_await erase_record<Kind>(records_, id);
    }
    [[nodiscard]] bool undoes_intent() const override { return true; }

private:
    records::Records& records_;
    std::string name_ = std::string(Kind::kName) + ".record";
};

template <class Kind>
class ForgetStep final : public StepType {
public:
    explicit ForgetStep(records::Records& records) : records_(records) {}
    static model::Step step(const Uuid& id, std::string text) {
        return {std::string(Kind::kName) + ".forget", id_arguments(id), std::move(text)};
    }

    [[nodiscard]] std::string_view name() const override { return name_; }
    Async<bool> is_done(StepContext& context) override {
        CO_TRY_ASSIGN(const Uuid id, id_argument(context.step()));
        co_return records_.get<Kind>(id) == nullptr;
    }
    Async<> run(StepContext& context) override {
        CO_TRY_ASSIGN(const Uuid id, id_argument(context.step()));
        co_return co_await erase_record<Kind>(records_, id);
    }
    // What is erased does not come back: put it behind the point of no return.
    Async<> undo(StepContext& /*context*/) override { co_return Result<void>(); }

private:
    records::Records& records_;
    std::string name_ = std::string(Kind::kName) + ".forget";
};

}  // namespace stoa::task
