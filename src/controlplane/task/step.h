// StepType: one kind of side effect that a task can have, done and undone.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/json.h"
#include "controlplane/async/async.h"
#include "controlplane/model/task.h"

namespace stoa::task {

// What a running step knows and tells. Lives as long as the step runs.
class StepContext {
public:
    virtual ~StepContext() = default;
    [[nodiscard]] virtual const Uuid& task() const = 0;
    [[nodiscard]] virtual const model::Step& step() const = 0;
    // What the steps found out so far, an object that becomes the task's result. What a step puts
    // in is stored when the step is done.
    [[nodiscard]] virtual Json& result() = 0;
    // Streamed, not stored. total 0: not known.
    virtual void progress(uint64_t done, uint64_t total, std::string_view text) = 0;
    // Somebody asked to cancel the task: a step that takes long should end with `cancelled`.
    [[nodiscard]] virtual bool cancel_wanted() const = 0;
};

// Stateless; one object serves all tasks. The process may die at any moment: run() is begun again
// from the start after it, and so is undo(), so that both must be idempotent.
class StepType {
public:
    virtual ~StepType() = default;
    [[nodiscard]] virtual std::string_view name() const = 0;  // "volume.create"
    // Whether the effect is there already, asked before run().
    virtual Async<bool> is_done(StepContext& context) = 0;
    virtual Async<> run(StepContext& context) = 0;
    // Takes the effect back, whole or partial or absent.
    virtual Async<> undo(StepContext& context) = 0;
    // Whether undo() takes back what the intent of the plan made. Such steps come first in a plan;
    // they are undone also if the task ends before it began.
    [[nodiscard]] virtual bool undoes_intent() const { return false; }
};

}  // namespace stoa::task
