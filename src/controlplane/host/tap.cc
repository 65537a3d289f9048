// Taps that live as long as their descriptor; see links.h. Test: links_test.cc.
#include <fcntl.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>

#include "controlplane/host/links.h"
#include "controlplane/host/netlink.h"

namespace stoa::host {

namespace {

constexpr const char* kTunDevice = "/dev/net/tun";

// MTU, bridge and "up" in one message.
Result<void> configure(NetlinkSocket& socket, const TapSpec& spec, uint32_t index,
                       uint32_t bridge) {
    ifinfomsg info{};
    info.ifi_family = AF_UNSPEC;
    info.ifi_index = static_cast<int>(index);
    info.ifi_flags = IFF_UP;
    info.ifi_change = IFF_UP;
    NetlinkMessage request(RTM_NEWLINK, NLM_F_ACK, info);
    request.put_number(IFLA_MTU, spec.mtu_bytes);
    if (bridge != 0) request.put_number(IFLA_MASTER, bridge);
    return socket.ask(std::move(request), "tap " + spec.name);
}

Result<void> isolate(NetlinkSocket& socket, const TapSpec& spec, uint32_t index) {
    ifinfomsg info{};
    info.ifi_family = AF_BRIDGE;
    info.ifi_index = static_cast<int>(index);
    NetlinkMessage request(RTM_SETLINK, NLM_F_ACK, info);
    const size_t port = request.begin(IFLA_PROTINFO);
    request.put_number(IFLA_BRPORT_ISOLATED, uint8_t{1});
    request.end(port);
    return socket.ask(std::move(request), "tap " + spec.name + ": cannot isolate");
}

}  // namespace

Result<Descriptor> open_tap(const TapSpec& spec) {
    if (spec.name.empty() || spec.name.size() > kLinkNameBytesMax) {
        return Error(ErrorCode::invalid_argument,
                     "tap name \"" + spec.name + "\": must have 1 to 15 characters");
    }
    uint32_t bridge = 0;
    if (!spec.bridge.empty()) {
        TRY_ASSIGN(const Link link, find_link(spec.bridge));
        bridge = link.index;
    }
    Descriptor tap(::open(kTunDevice, O_RDWR | O_CLOEXEC | O_NONBLOCK));
    if (!tap.is_open()) return system_error(std::string(kTunDevice) + ": cannot open", errno);
    ifreq request{};
    std::ranges::copy(spec.name, static_cast<char*>(request.ifr_name));
    // Exclusive: never a queue of somebody else's tap.
    request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL);
    if (::ioctl(tap.get(), TUNSETIFF, &request) != 0) {
        if (errno == EBUSY) {
            return Error(ErrorCode::already_exists, "tap " + spec.name + ": exists already");
        }
        return system_error("tap " + spec.name + ": cannot create", errno);
    }
    TRY_ASSIGN(NetlinkSocket socket, NetlinkSocket::open());
    const unsigned index = ::if_nametoindex(spec.name.c_str());
    if (index == 0) return system_error("tap " + spec.name, errno);
    TRY(configure(socket, spec, index, bridge));
    if (spec.isolated && bridge != 0) TRY(isolate(socket, spec, index));
    return tap;
}

}  // namespace stoa::host
