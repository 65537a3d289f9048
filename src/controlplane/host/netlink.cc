#include "controlplane/host/netlink.h"

#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace stoa::host {

namespace {

constexpr size_t kReceiveBytes = size_t{256} << 10;

// The kernel's own words, if it gave any.
std::string explanation(const nlmsghdr& header, ConstBytes payload) {
    if ((header.nlmsg_flags & NLM_F_ACK_TLVS) == 0) return "";
    size_t skip = sizeof(nlmsgerr);
    if ((header.nlmsg_flags & NLM_F_CAPPED) == 0 && payload.size() >= sizeof(nlmsgerr)) {
        nlmsgerr error{};
        std::memcpy(&error, payload.data(), sizeof error);
        if (error.msg.nlmsg_len > sizeof(nlmsghdr)) skip += error.msg.nlmsg_len - sizeof(nlmsghdr);
    }
    skip = NLMSG_ALIGN(skip);
    if (skip > payload.size()) return "";
    std::string text;
    for_each_attribute(payload.subspan(skip), [&text](uint16_t type, ConstBytes value) {
        if (type == NLMSGERR_ATTR_MSG) text = text_of(value);
    });
    return text;
}

Result<void> result_of(const nlmsghdr& header, ConstBytes payload, std::string_view what) {
    int32_t number = 0;
    if (payload.size() < sizeof number) return Error(ErrorCode::io, "netlink: a short answer");
    std::memcpy(&number, payload.data(), sizeof number);
    if (number == 0) return {};
    const std::string why = explanation(header, payload);
    Error error = system_error(what, -number);
    if (why.empty()) return error;
    return Error(error.code(), fmt::format("{} ({})", error.message(), why), -number);
}

}  // namespace

void NetlinkMessage::append(const void* from, size_t size_bytes) {
    const auto* begin = static_cast<const std::byte*>(from);
    bytes_.insert(bytes_.end(), begin, begin + size_bytes);
    bytes_.resize(NLMSG_ALIGN(bytes_.size()));
}

void NetlinkMessage::put(uint16_t type, ConstBytes value) {
    const rtattr header{.rta_len = static_cast<uint16_t>(RTA_LENGTH(value.size())),
                        .rta_type = type};
    append(&header, sizeof header);
    append(value.data(), value.size());
}

void NetlinkMessage::put_text(uint16_t type, std::string_view text) {
    const std::string whole(text);
    put(type, std::as_bytes(std::span(whole.c_str(), whole.size() + 1)));
}

size_t NetlinkMessage::begin(uint16_t type) {
    const size_t at = bytes_.size();
    put(static_cast<uint16_t>(type | NLA_F_NESTED), {});
    return at;
}

void NetlinkMessage::end(size_t begun) {
    const auto length = static_cast<uint16_t>(bytes_.size() - begun);
    std::memcpy(bytes_.data() + begun, &length, sizeof length);
}

ConstBytes NetlinkMessage::finish(uint32_t sequence) {
    nlmsghdr header{};
    std::memcpy(&header, bytes_.data(), sizeof header);
    header.nlmsg_len = static_cast<uint32_t>(bytes_.size());
    header.nlmsg_seq = sequence;
    std::memcpy(bytes_.data(), &header, sizeof header);
    return bytes_;
}

void for_each_attribute(ConstBytes attributes, const AttributeVisitor& visit) {
    while (attributes.size() >= sizeof(rtattr)) {
        rtattr header{};
        std::memcpy(&header, attributes.data(), sizeof header);
        if (header.rta_len < sizeof header || header.rta_len > attributes.size()) return;
        constexpr uint16_t kTypeMask = 0x3fff;  // without "nested" and "network byte order"
        visit(header.rta_type & kTypeMask,
              attributes.subspan(sizeof header, header.rta_len - sizeof header));
        attributes = attributes.subspan(
            std::min<size_t>(RTA_ALIGN(size_t{header.rta_len}), attributes.size()));
    }
}

std::string text_of(ConstBytes value) {
    std::string text(reinterpret_cast<const char*>(value.data()), value.size());
    return text.substr(0, text.find('\0'));
}

uint32_t number_of(ConstBytes value) {
    uint32_t number = 0;
    if (value.size() >= sizeof number) std::memcpy(&number, value.data(), sizeof number);
    return number;
}

Result<NetlinkSocket> NetlinkSocket::open() {
    Descriptor socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (!socket.is_open()) return system_error("netlink: cannot open", errno);
    const int on = 1;
    ::setsockopt(socket.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
    ::setsockopt(socket.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
    return NetlinkSocket(std::move(socket));
}

Result<void> NetlinkSocket::send(ConstBytes bytes, std::string_view what) {
    while (::send(socket_.get(), bytes.data(), bytes.size(), 0) < 0) {
        if (errno != EINTR) return system_error(what, errno);
    }
    return {};
}

Result<ConstBytes> NetlinkSocket::receive(std::string_view what) {
    buffer_.resize(kReceiveBytes);
    while (true) {
        const ssize_t got = ::recv(socket_.get(), buffer_.data(), buffer_.size(), 0);
        if (got >= 0) return ConstBytes(buffer_.data(), static_cast<size_t>(got));
        if (errno != EINTR) return system_error(what, errno);
    }
}

Result<void> NetlinkSocket::ask(NetlinkMessage message, std::string_view what) {
    return dump(std::move(message), what, [](uint16_t, ConstBytes) {});
}

Result<void> NetlinkSocket::dump(
    NetlinkMessage message, std::string_view what,
    const std::function<void(uint16_t type, ConstBytes payload)>& take) {
    ++sequence_;
    TRY(send(message.finish(sequence_), what));
    while (true) {
        TRY_ASSIGN(ConstBytes rest, receive(what));
        while (rest.size() >= sizeof(nlmsghdr)) {
            nlmsghdr header{};
            std::memcpy(&header, rest.data(), sizeof header);
            if (header.nlmsg_len < sizeof header || header.nlmsg_len > rest.size()) break;
            const ConstBytes payload =
                rest.subspan(sizeof header, header.nlmsg_len - sizeof header);
            rest =
                rest.subspan(std::min<size_t>(NLMSG_ALIGN(size_t{header.nlmsg_len}), rest.size()));
            if (header.nlmsg_seq != sequence_) continue;
            if (header.nlmsg_type == NLMSG_ERROR || header.nlmsg_type == NLMSG_DONE) {
                return result_of(header, payload, what);
            }
            take(header.nlmsg_type, payload);
        }
    }
}

}  // namespace stoa::host
