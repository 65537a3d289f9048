#include "dataplane/service/control.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

namespace stoa::service {

Control::Control(io::Reactor& reactor, Service& service)
    : reactor_(reactor), service_(service), tasks_(reactor) {}

Control::~Control() { CHECK(clients_.empty()); }

Result<void> Control::start() {
    io::Address address;
    address.path = service_.control_path();
    // The lock is ours: no other daemon of this root lives.
    io::ListenOptions options;
    options.takes_over = true;
    TRY_ASSIGN(listener_, io::Listener::open(reactor_, address, options));
    tasks_.spawn(accept_clients());
    return {};
}

io::Task<void> Control::accept_clients() {
    while (!stopping_) {
        auto client = co_await listener_->accept();
        if (!client.ok() && !stopping_) co_await reactor_.sleep_ns(100'000'000);
        if (!client.ok() || clients_.size() >= kClientsMax) continue;
        const auto who = (*client)->credentials();
        // The file's mode says the same; that somebody loosens it must not suffice.
        const bool allowed = who.ok() && (who->uid == 0 || who->uid == ::geteuid());
        if (allowed) tasks_.spawn(attend(*std::move(client)));
    }
}

io::Task<void> Control::attend(std::unique_ptr<io::Socket> socket) {
    ControlSession client(
        reactor_, [this](std::string_view method) { return service_.find(method); },
        service_.events(), *socket);
    clients_.push_back(&client);
    co_await client.run();
    std::erase(clients_, &client);
}

io::Task<void> Control::stop() {
    stopping_ = true;
    if (listener_ != nullptr) listener_->shut_down();
    for (ControlSession* client : clients_) client->cut();
    co_await tasks_.join();
}

}  // namespace stoa::service
