// TestWorld: a host of its own for tests of networks: a network namespace for the program, one that
// is the world outside (192.0.2.2), and one for each guest.
//
// The whole test program moves into the namespace, so that the host's links are not touched.
#pragma once

#include <sched.h>
#include <sys/mount.h>

#include <cstdlib>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "controlplane/host/command.h"
#include "controlplane/network/networks.h"
#include "controlplane/records/test_store.h"

namespace stoa::network {

// Once a process; false: this machine does not allow it.
inline bool enter_own_namespaces() {
    static const bool entered = [] {
        if (unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) return false;
        if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return false;
        return mount("tmpfs", "/run", "tmpfs", 0, "mode=755") == 0;
    }();
    return entered;
}

class TestWorld {
public:
    explicit TestWorld(asio::io_context& loop) : loop_(loop) {
        std::filesystem::permissions(directory_.path(), std::filesystem::perms(0755));
        shell("mkdir -p /run/netns /run/stoa; ip link set lo up");
        shell(
            "ip netns add world; ip link add out type veth peer name eth0 netns world;"
            "ip addr add 192.0.2.1/24 dev out; ip link set out up;"
            "ip -n world addr add 192.0.2.2/24 dev eth0; ip -n world link set eth0 up;"
            "ip -n world link set lo up");
        serve("world", "from-world");
    }
    TestWorld(const TestWorld&) = delete;
    TestWorld& operator=(const TestWorld&) = delete;
    ~TestWorld() {
        shell(
            "for n in $(ip netns list | cut -d' ' -f1); do"
            " for p in $(ip netns pids $n); do kill -9 $p; done; ip netns del $n; done;"
            "ip link del out; nft flush ruleset;"
            "for l in $(ip -br link | grep -o '^st[^ @]*'); do ip link del $l; done");
    }

    // What it printed; its exit code must not count.
    std::string shell(const std::string& text) {
        host::CommandSpec spec;
        spec.program = "/bin/sh";
        spec.arguments = {"-c", text};
        spec.limit = std::chrono::milliseconds(20'000);
        const auto done = records::await_on(loop_, host::run_command(spec));
        return done.ok() ? done->output : "";
    }
    // An HTTP server on port 80 of the namespace, which says `text`.
    void serve(const std::string& space, const std::string& text) {
        shell(fmt::format(
            "mkdir -p {0}/{1}; echo {2} > {0}/{1}/index.html;"
            "ip netns exec {1} busybox httpd -p 80 -h {0}/{1} </dev/null >/dev/null 2>&1",
            directory_.path().string(), space, text));
    }
    // What the server there says, asked from a namespace; from the host if that is empty.
    std::string fetch(const std::string& space, const std::string& address, int port = 80) {
        return shell(
            fmt::format("printf 'GET / HTTP/1.0\\r\\n\\r\\n' |"
                        "{} timeout 2 busybox nc -w 2 {} {} | tail -1",
                        space.empty() ? "" : " ip netns exec " + space, address, port));
    }

    // What must be there: a machine that is busy may need more than one try.
    std::string fetched(const std::string& space, const std::string& address, int port = 80) {
        std::string text;
        for (int i = 0; i < 8 && text.empty(); ++i) text = fetch(space, address, port);
        return text;
    }

    // A guest with the hardware address and in the bridge of its lease, which asks for its address.
    // Gives what the DHCP server said: "ADDRESS ROUTER DNS DOMAIN HOSTNAME", empty: nothing.
    std::string start_guest(const std::string& name, const model::Lease& lease,
                            const std::string& bridge) {
        shell(
            fmt::format("ip netns add {0}; ip -n {0} link set lo up;"
                        "ip link add {1} type veth peer name eth0 netns {0};"
                        "ip -n {0} link set eth0 address {2}; ip link set {1} master {3} up;"
                        "ip -n {0} link set eth0 up",
                        name, lease.interface, lease.mac, bridge));
        const std::string script = directory_.file("udhcpc.sh");
        shell(
            fmt::format("cat > {0} <<'E'\n#!/bin/sh\n[ \"$1\" = bound ] || exit 0\n"
                        "ip addr add $ip/24 dev $interface\nip route add default via $router\n"
                        "echo $ip $router $dns $search $domain $hostname\nE\nchmod 755 {0}",
                        script));
        return shell(fmt::format(
            "ip netns exec {} busybox udhcpc -i eth0 -n -q -t 5 -T 1 -O search -s {} 2>/dev/null",
            name, script));
    }

    [[nodiscard]] std::string directory() const { return directory_.path(); }

private:
    asio::io_context& loop_;
    records::TestDirectory directory_;
};

}  // namespace stoa::network
