#include "apps/launch/channel.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include <fmt/format.h>

namespace stoa::apps::launch {

namespace {

void take_descriptors(msghdr& message, std::vector<int>& into) {
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
         header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        std::vector<int> some(count);
        std::memcpy(some.data(), CMSG_DATA(header), count * sizeof(int));
        into.insert(into.end(), some.begin(), some.end());
    }
}

}  // namespace

Channel::Channel(int socket) : socket_(socket) { ::fcntl(socket_, F_SETFD, FD_CLOEXEC); }
Channel::~Channel() { close(); }

void Channel::close() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
}

Result<Order> Channel::receive() {
    Order order;
    std::string text;
    while (!text.ends_with('\0')) {
        std::array<char, 16384> piece{};
        alignas(cmsghdr) std::array<char, CMSG_SPACE(host::kLaunchDescriptorsMax * sizeof(int))>
            control{};
        iovec data{.iov_base = piece.data(), .iov_len = piece.size()};
        msghdr message{};
        message.msg_iov = &data;
        message.msg_iovlen = 1;
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        const ssize_t got = ::recvmsg(socket_, &message, MSG_CMSG_CLOEXEC);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return Error(ErrorCode::io, "the order ends too early", errno);
        take_descriptors(message, order.descriptors);
        if ((message.msg_flags & MSG_CTRUNC) != 0) {
            return Error(ErrorCode::invalid_argument, "too many descriptors");
        }
        text.append(piece.data(), static_cast<size_t>(got));
        if (text.size() > host::kLaunchRequestBytesMax) {
            return Error(ErrorCode::invalid_argument, "the order is too long");
        }
    }
    text.pop_back();
    TRY_ASSIGN(order.spec, host::parse_launch(text));
    if (order.spec.descriptors.size() != order.descriptors.size()) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("{} descriptors came, {} are named", order.descriptors.size(),
                                 order.spec.descriptors.size()));
    }
    return order;
}

void Channel::reply(const host::LaunchReply& reply) {
    std::string text = to_text(to_json(reply));
    text += '\0';
    for (std::string_view rest = text; !rest.empty();) {
        const ssize_t sent = ::send(socket_, rest.data(), rest.size(), MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0) return;  // stoad is gone; the status file tells the next one
        rest.remove_prefix(static_cast<size_t>(sent));
    }
}

void Channel::refuse(std::string_view step, const Error& error) {
    reply({.process = {},
           .step = std::string(step),
           .error = 0,
           .message = error.message(),
           .warnings = {}});
}

void Channel::refuse_errno(std::string_view step, int number, std::string_view what) {
    reply({.process = {},
           .step = std::string(step),
           .error = number,
           .message = std::string(what),
           .warnings = {}});
}

bool Channel::is_open() const {
    pollfd poll{.fd = socket_, .events = 0, .revents = 0};
    return ::poll(&poll, 1, 0) == 0;
}

}  // namespace stoa::apps::launch
