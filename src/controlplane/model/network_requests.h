// What the API is asked about networks. Wherever a thing is named, its id or its name will do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "base/describe.h"
#include "controlplane/model/network.h"
#include "controlplane/model/record.h"

namespace stoa::model {

struct NewForward {
    Protocol protocol = Protocol::tcp;
    std::string host_address;
    uint32_t host_port = 0;
    std::string vm;
    uint32_t guest_port = 0;
    static constexpr auto fields() {
        return std::tuple(
            optional("protocol", &NewForward::protocol, "tcp or udp"),
            optional("host_address", &NewForward::host_address, "empty: all of the host's"),
            required("host_port", &NewForward::host_port, "1 to 65535"),
            required("vm", &NewForward::vm, ""),
            required("guest_port", &NewForward::guest_port, "1 to 65535"));
    }
};

struct NetworkCreate {
    std::string name;
    Labels labels;
    NetworkMode mode = NetworkMode::nat;
    std::string subnet;
    std::string domain = "stoa";
    std::string bridge;
    std::vector<NewForward> forwards;
    static constexpr auto fields() {
        return std::tuple(
            required("name", &NetworkCreate::name, "a DNS label"),
            optional("labels", &NetworkCreate::labels, ""),
            optional("mode", &NetworkCreate::mode, "nat or bridge"),
            optional("subnet", &NetworkCreate::subnet, "such as 10.77.3.0/24; a free one if empty"),
            optional("domain", &NetworkCreate::domain, "guests are NAME.DOMAIN"),
            optional("bridge", &NetworkCreate::bridge, "mode bridge: the host's bridge"),
            optional("forwards", &NetworkCreate::forwards, "mode nat"));
    }
};

// What is there is changed, all else stays.
struct NetworkSet {
    std::optional<std::string> name;
    std::optional<Labels> labels;
    std::optional<std::string> subnet;
    std::optional<std::string> domain;
    std::optional<std::string> bridge;
    std::vector<NewForward> add_forwards;
    std::vector<NewForward> remove_forwards;
    static constexpr auto fields() {
        return std::tuple(
            optional("name", &NetworkSet::name, ""),
            optional("labels", &NetworkSet::labels, "all of them"),
            optional("subnet", &NetworkSet::subnet, "only while no guest is attached"),
            optional("domain", &NetworkSet::domain, ""),
            optional("bridge", &NetworkSet::bridge, ""),
            optional("add_forwards", &NetworkSet::add_forwards, ""),
            optional("remove_forwards", &NetworkSet::remove_forwards, "as they are"));
    }
};

}  // namespace stoa::model
