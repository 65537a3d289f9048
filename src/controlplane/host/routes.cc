// What the routing table says; see links.h. Test: links_test.cc.
#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <algorithm>
#include <array>
#include <functional>
#include <utility>

#include "controlplane/host/links.h"
#include "controlplane/host/netlink.h"

namespace stoa::host {

namespace {

struct Route {
    uint32_t destination = 0;  // host byte order
    uint8_t prefix = 0;
    uint32_t metric = 0;
    uint32_t link = 0;
};

Result<std::vector<Route>> read_routes() {
    TRY_ASSIGN(NetlinkSocket socket, NetlinkSocket::open());
    rtmsg all{};
    all.rtm_family = AF_INET;
    std::vector<Route> routes;
    TRY(socket.dump(NetlinkMessage(RTM_GETROUTE, NLM_F_DUMP, all), "list of routes",
                    [&routes](uint16_t type, ConstBytes payload) {
                        rtmsg message{};
                        ConstBytes attributes;
                        if (type != RTM_NEWROUTE || !take_fixed(payload, message, attributes))
                            return;
                        if (message.rtm_family != AF_INET || message.rtm_type != RTN_UNICAST)
                            return;
                        Route route{.prefix = message.rtm_dst_len};
                        for_each_attribute(attributes, [&route](uint16_t inner, ConstBytes value) {
                            if (inner == RTA_DST) route.destination = ntohl(number_of(value));
                            if (inner == RTA_OIF) route.link = number_of(value);
                            if (inner == RTA_PRIORITY) route.metric = number_of(value);
                        });
                        routes.push_back(route);
                    }));
    return routes;
}

}  // namespace

Result<std::vector<std::string>> default_route_links() {
    TRY_ASSIGN(std::vector<Route> routes, read_routes());
    std::ranges::sort(routes, {},
                      [](const Route& route) { return std::pair(route.metric, route.link); });
    std::vector<std::string> names;
    for (const Route& route : routes) {
        std::array<char, IF_NAMESIZE> name{};
        if (route.prefix != 0 || ::if_indextoname(route.link, name.data()) == nullptr) continue;
        if (std::ranges::find(names, name.data()) == names.end()) names.emplace_back(name.data());
    }
    return names;
}

Result<std::vector<Subnet>> routed_subnets() {
    TRY_ASSIGN(const std::vector<Route> routes, read_routes());
    std::vector<Subnet> subnets;
    for (const Route& route : routes) {
        if (route.prefix != 0)
            subnets.push_back({.address = route.destination, .prefix = route.prefix});
    }
    return subnets;
}

}  // namespace stoa::host
