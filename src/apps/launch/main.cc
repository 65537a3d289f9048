// stoa-launch: starts one program for stoad, in a session of its own, and stays as its keeper.
// Without arguments it reads its orders from descriptor 3; see controlplane/host/launch/request.h.
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string_view>

#include "apps/launch/channel.h"
#include "apps/launch/keeper.h"
#include "apps/launch/kvm_guest.h"

using namespace stoa;
using namespace stoa::apps::launch;

namespace {

int usage() {
    std::fputs(
        "stoa-launch is a helper of stoad, which starts guests through it.\n"
        "usage: stoa-launch                      orders come through descriptor 3\n"
        "       stoa-launch --probe-kvm DEVICE   times a tiny guest and prints JSON\n",
        stderr);
    return 2;
}

int launch() {
    ::signal(SIGPIPE, SIG_IGN);  // who gave the order may be gone
    Channel channel(host::kLaunchSocket);
    Result<Order> order = channel.receive();
    if (!order.ok()) {
        channel.refuse("request", order.error());
        return 1;
    }
    const pid_t keeper = ::fork();
    if (keeper < 0) {
        channel.refuse_errno("fork", errno);
        return 1;
    }
    // The keeper belongs to nobody from here on, so stoad never has to reap it.
    return keeper > 0 ? 0 : keep(channel, *std::move(order));
}

}  // namespace

int main(int argc, char** argv) {
    if (argc == 3 && std::string_view(argv[1]) == "--probe-kvm") return probe_kvm(argv[2]);
    if (argc != 1 || ::fcntl(host::kLaunchSocket, F_GETFD) < 0) return usage();
    return launch();
}
