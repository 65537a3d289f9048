// Messages to and from the kernel's rtnetlink(7): enough for links, addresses and routes. Inside of
// this folder. What the kernel says is trusted, but never read beyond its end.
#pragma once

#include <linux/netlink.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "controlplane/host/descriptor.h"

namespace stoa::host {

// One request: a header, a fixed part, and attributes, some of which hold others.
class NetlinkMessage {
public:
    template <class Fixed>
    NetlinkMessage(uint16_t type, uint16_t flags, const Fixed& fixed) {
        nlmsghdr header{};
        header.nlmsg_type = type;
        header.nlmsg_flags = static_cast<uint16_t>(flags | NLM_F_REQUEST);
        append(&header, sizeof header);
        append(&fixed, sizeof fixed);
    }

    void put(uint16_t type, ConstBytes value);
    void put_text(uint16_t type, std::string_view text);  // with a zero at its end
    template <class Number>
    void put_number(uint16_t type, Number value) {
        put(type, std::as_bytes(std::span(&value, 1)));
    }
    // What is put until end() is inside of the attribute.
    [[nodiscard]] size_t begin(uint16_t type);
    void end(size_t begun);

    // With its length and `sequence`.
    [[nodiscard]] ConstBytes finish(uint32_t sequence);

private:
    void append(const void* from, size_t size_bytes);
    std::vector<std::byte> bytes_;
};

using AttributeVisitor = std::function<void(uint16_t type, ConstBytes value)>;
void for_each_attribute(ConstBytes attributes, const AttributeVisitor& visit);
// Of an attribute: what it holds, up to a zero byte.
[[nodiscard]] std::string text_of(ConstBytes value);
// 0 if it is too short.
[[nodiscard]] uint32_t number_of(ConstBytes value);

// In the network namespace of the thread that opened it.
class NetlinkSocket {
public:
    static Result<NetlinkSocket> open();

    // Waits for the kernel's answer. `what` begins the message. Errors: by errno.
    Result<void> ask(NetlinkMessage message, std::string_view what);
    // `take(type, payload)`: each part of the answer; the fixed part comes first in it.
    Result<void> dump(NetlinkMessage message, std::string_view what,
                      const std::function<void(uint16_t type, ConstBytes payload)>& take);

private:
    explicit NetlinkSocket(Descriptor socket) : socket_(std::move(socket)) {}
    Result<void> send(ConstBytes bytes, std::string_view what);
    Result<ConstBytes> receive(std::string_view what);

    Descriptor socket_;
    uint32_t sequence_ = 0;
    std::vector<std::byte> buffer_;
};

// The fixed part at the start of `payload`, and the attributes after it.
template <class Fixed>
bool take_fixed(ConstBytes payload, Fixed& fixed, ConstBytes& attributes) {
    if (payload.size() < sizeof fixed) return false;
    std::memcpy(&fixed, payload.data(), sizeof fixed);
    attributes = payload.subspan(std::min<size_t>(NLMSG_ALIGN(sizeof fixed), payload.size()));
    return true;
}

}  // namespace stoa::host
