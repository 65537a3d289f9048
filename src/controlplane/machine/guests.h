// Guests: all virtual machines of this host, and what is done for them without being asked:
// adoption at start, autostart after the host has begun anew, restarts after crashes, the end of
// the grace period of deleted ones.
//
// Whatever it does it does by a task, as a user would ("system" is the principal).
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>

#include "controlplane/async/async.h"
#include "controlplane/async/scope.h"
#include "controlplane/machine/guest.h"
#include "controlplane/task/engine.h"

namespace stoa::machine {

// One thread. Does not move.
class Guests {
public:
    explicit Guests(const Services& services);
    Guests(const Guests&) = delete;
    Guests& operator=(const Guests&) = delete;
    ~Guests();  // CHECKs that close() finished.

    // Step types for the engine, before it starts.
    [[nodiscard]] std::vector<std::unique_ptr<task::StepType>> step_types();

    // Before the engine starts: adopts what runs, thaws what is frozen, removes what bears this
    // instance's mark and has no owner any more.
    AsyncVoid adopt();
    // After the engine has started. `boot_is_new`: the host has begun anew since the last time.
    void start(task::Engine& engine, bool boot_is_new);
    // Lets go of all guests, which live on.
    AsyncVoid close();

    // The guest of a record; made when it is asked for the first time. Errors: not_found.
    Result<Guest*> find(const Uuid& vm);

    // By the record's state: for metrics.
    [[nodiscard]] std::map<std::string, size_t> count_by_state() const;

private:
    void crashed(const Uuid& vm);
    AsyncVoid adopt_one(Uuid vm);
    AsyncVoid remove_leftovers();
    AsyncVoid restart_later(Uuid vm);
    AsyncVoid start_all();
    AsyncVoid purge_deleted();
    AsyncVoid forget_removed();
    AsyncVoid pause_ns(int64_t time_ns);
    Async<> submit(Result<task::Plan> plan);

    const Services& services_;
    task::Engine* engine_ = nullptr;
    std::map<Uuid, std::unique_ptr<Guest>> guests_;
    Scope scope_;
    bool closing_ = false;
};

}  // namespace stoa::machine
