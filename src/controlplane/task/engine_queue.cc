// Whose turn it is: the queue of the engine (engine_state.h).
#include <algorithm>

#include <fmt/format.h>

#include "controlplane/task/engine_state.h"

namespace stoa::task {

namespace {

bool is_over(model::TaskState state) {
    return state == model::TaskState::done || state == model::TaskState::failed ||
           state == model::TaskState::cancelled;
}

bool share_a_lock(const Run& one, const Run& other) {
    return std::ranges::any_of(one.spec.locks, [&other](const std::string& lock) {
        return std::ranges::find(other.spec.locks, lock) != other.spec.locks.end();
    });
}

}  // namespace

Uuid Engine::State::blocker_of(const Run& run) const {
    if (run.spec.bypasses) return {};
    Uuid nearest;
    for (const auto& [created_ns, other] : runs) {
        if (created_ns >= run.created_ns) break;
        if (share_a_lock(run, *other)) nearest = other->id;
    }
    return nearest;
}

void Engine::State::spawn(const std::shared_ptr<Run>& run) {
    run->is_spawned = true;
    scope.spawn(drive(run));
}

void Engine::State::schedule() {
    if (closing) return;
    // Who holds each lock last, of those before.
    std::map<std::string_view, const Run*> holders;
    for (const auto& [created_ns, run] : runs) {
        const Run* blocker = nullptr;
        for (const std::string& lock : run->spec.locks) {
            const Run*& holder = holders[lock];
            const bool is_nearer = holder != nullptr &&
                                   (blocker == nullptr || holder->created_ns > blocker->created_ns);
            if (is_nearer) blocker = holder;
            holder = run.get();
        }
        if (run->is_spawned || run->is_stuck || !run->is_committed) continue;
        if (blocker == nullptr || run->spec.bypasses) {
            spawn(run);
            continue;
        }
        std::string waits_for = blocker->id.to_string();
        if (run->status.waits_for == waits_for) continue;
        run->status.waits_for = std::move(waits_for);
        scope.spawn(show_status(run));
    }
}

// What only people look at; if it cannot be stored now, the next border brings it.
AsyncVoid Engine::State::show_status(std::shared_ptr<Run> run) {
    if (is_over(run->status.state)) co_return;
    state::Txn txn;
    records::put_status<model::Task>(txn, run->id, run->status);
    note(co_await records.commit(std::move(txn)));
}

std::string Engine::State::unknown_step(const std::vector<model::Step>& steps) const {
    for (const model::Step& step : steps) {
        if (!types.contains(step.type)) return step.type;
    }
    return {};
}

uint32_t Engine::State::intent_steps(const model::TaskSpec& spec) const {
    uint32_t count = 0;
    for (const model::Step& step : spec.steps) {
        if (!types.find(step.type)->second->undoes_intent()) break;
        ++count;
    }
    return count;
}

void Engine::State::adopt() {
    for (const auto& [id, record] : records.all<model::Task>()) {
        last_created_ns = std::max(last_created_ns, record.created_ns);
        if (is_over(record.status.state)) continue;
        auto run = std::make_shared<Run>();
        run->id = id;
        run->created_ns = record.created_ns;
        run->spec = record.spec;
        run->status = record.status;
        run->is_committed = true;
        const std::string unknown = unknown_step(run->spec.steps);
        if (!unknown.empty()) {
            run->is_stuck = true;
            run->progress.text = fmt::format("this program knows no step \"{}\"", unknown);
            tell(*run, fmt::format("task {} cannot go on: {}", run->spec.verb, run->progress.text));
        }
        runs.emplace(run->created_ns, std::move(run));
    }
    // Whoever has its turn may have begun before.
    for (const auto& [created_ns, run] : runs) {
        const bool is_waiting = run->status.state == model::TaskState::waiting;
        run->step_began = !is_waiting || blocker_of(*run).is_nil();
    }
}

}  // namespace stoa::task
