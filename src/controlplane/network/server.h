// Server: the dnsmasq of one network. It outlives this process; the next one adopts it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "controlplane/async/async.h"
#include "controlplane/async/scope.h"
#include "controlplane/host/process.h"
#include "controlplane/network/dnsmasq.h"

namespace stoa::network {

// One thread. Does not move.
class Server {
public:
    struct Options {
        std::string launch_helper;
        std::string marker;           // in its command line: the network's id
        std::function<void()> ended;  // when ensure() should be called again
    };
    Server(const asio::any_io_executor& executor, Options options)
        : options_(std::move(options)), scope_(executor) {}

    // `afresh`: one that runs is ended first, because its interface is another one of that name.
    // Files hold `files`, and a dnsmasq with these options serves them: the one that runs, told to
    // read them again, or a new one. When it answers the process accepts questions.
    // Errors: not_found (dnsmasq is not installed), io (it ended: its last words; it is tried again
    // after a pause that grows from 0.1 s to 30 s), as host::launch() and files.h.
    Async<> ensure(DnsmasqOptions wanted, DnsmasqFiles files, bool afresh);

    // Ends the dnsmasq that uses `directory`, which may be one of a run before, and removes the
    // directory. Errors: io, denied.
    Async<> stop(std::string directory);
    // Looks after the process no more; it goes on. Before the destructor.
    AsyncVoid close() { return scope_.close(); }

private:
    // Shared by the coroutine that waits for its end.
    using Running = std::shared_ptr<host::Process>;

    Async<> adopt(const std::string& status_path);
    Async<> start(const DnsmasqOptions& wanted, std::vector<std::string> arguments,
                  const std::string& program);
    Async<> end_running();
    void watch();
    AsyncVoid wait_for_end(Running process);

    Options options_;
    Running process_;
    uint32_t failures_ = 0;
    bool pausing_ = false;  // after a failure
    std::string last_words_;
    Scope scope_;  // who waits for its end
};

}  // namespace stoa::network
