#include "dataplane/io/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/check.h"
#include "dataplane/io/bind_local.h"
#include "dataplane/io/system_error.h"

namespace stoa::io {

namespace {

constexpr size_t kPathBytesMax = sizeof(sockaddr_un{}.sun_path) - 1;
constexpr size_t kPartsMax = 64;  // of one system call
constexpr uint64_t kDescriptorRetryNs = 50'000'000;
constexpr rlim_t kSparedDescriptors = 32;
// A peer that has vanished is noticed after kUnansweredMs, whether we send to it or not.
constexpr int kAskAfterSeconds = 30;
constexpr int kAskEverySeconds = 10;
constexpr int kUnansweredMs = 60'000;

struct SystemAddress {
    sockaddr_storage storage{};
    socklen_t length = 0;
    [[nodiscard]] sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
    [[nodiscard]] int family() const { return storage.ss_family; }
};

Result<SystemAddress> to_system(const Address& address) {
    SystemAddress result;
    if (!address.path.empty()) {
        sockaddr_un local{};
        local.sun_family = AF_UNIX;
        if (address.path.size() > kPathBytesMax) {
            return Error(ErrorCode::invalid_argument,
                         fmt::format("socket {}: the path has {} bytes; at most {} are possible",
                                     address.path, address.path.size(), kPathBytesMax));
        }
        std::ranges::copy(address.path, local.sun_path);
        std::memcpy(&result.storage, &local, sizeof local);
        result.length = sizeof local;
        return result;
    }
    const std::string host = address.host == "localhost" ? "127.0.0.1" : address.host;
    sockaddr_in four{};
    sockaddr_in6 six{};
    if (inet_pton(AF_INET, host.c_str(), &four.sin_addr) == 1) {
        four.sin_family = AF_INET;
        four.sin_port = htons(address.port);
        std::memcpy(&result.storage, &four, sizeof four);
        result.length = sizeof four;
    } else if (inet_pton(AF_INET6, host.c_str(), &six.sin6_addr) == 1) {
        six.sin6_family = AF_INET6;
        six.sin6_port = htons(address.port);
        std::memcpy(&result.storage, &six, sizeof six);
        result.length = sizeof six;
    } else {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("address {}: \"{}\" is not an IP address", address.to_string(),
                                 address.host));
    }
    return result;
}

Result<FileDescriptor> make_socket(const Address& address, int family) {
    FileDescriptor file(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!file.is_open()) return system_error(address.to_string() + ": cannot make a socket", errno);
    return file;
}

// Sends without delay and asks for signs of life. What fails on Unix sockets does not concern them.
void set_options(int file) {
    const auto set = [file](int level, int option, int value) {
        static_cast<void>(setsockopt(file, level, option, &value, sizeof value));
    };
    set(IPPROTO_TCP, TCP_NODELAY, 1);
    set(SOL_SOCKET, SO_KEEPALIVE, 1);
    set(IPPROTO_TCP, TCP_KEEPIDLE, kAskAfterSeconds);
    set(IPPROTO_TCP, TCP_KEEPINTVL, kAskEverySeconds);
    set(IPPROTO_TCP, TCP_USER_TIMEOUT, kUnansweredMs);
}

Error malformed(std::string_view text) {
    return {ErrorCode::invalid_argument,
            fmt::format("address \"{}\": write unix:PATH or tcp:HOST:PORT, HOST being a number "
                        "(IPv6 in brackets) or localhost",
                        text)};
}

// New descriptors have the smallest free number.
bool is_one_of_the_last(const FileDescriptor& file) {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return false;
    const rlim_t spared = std::min(kSparedDescriptors, limit.rlim_cur / 4);
    return static_cast<rlim_t>(file.get()) >= limit.rlim_cur - spared;
}

std::string name_of(const sockaddr_storage& from) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (from.ss_family == AF_INET) {
        sockaddr_in four{};
        std::memcpy(&four, &from, sizeof four);
        inet_ntop(AF_INET, &four.sin_addr, text.data(), text.size());
        return fmt::format("tcp:{}:{}", text.data(), ntohs(four.sin_port));
    }
    if (from.ss_family == AF_INET6) {
        sockaddr_in6 six{};
        std::memcpy(&six, &from, sizeof six);
        inet_ntop(AF_INET6, &six.sin6_addr, text.data(), text.size());
        return fmt::format("tcp:[{}]:{}", text.data(), ntohs(six.sin6_port));
    }
    return "local client";
}

}  // namespace

Result<Address> Address::parse(std::string_view text) {
    Address address;
    if (text.starts_with("unix:")) {
        address.path = text.substr(5);
        if (address.path.empty() || address.path.contains('\0')) return malformed(text);
    } else if (text.starts_with("tcp:")) {
        const std::string_view rest = text.substr(4);
        const size_t colon = rest.rfind(':');
        if (colon == std::string_view::npos || colon == 0) return malformed(text);
        std::string_view host = rest.substr(0, colon);
        if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
        const std::string_view port = rest.substr(colon + 1);
        const auto [end, failed] =
            std::from_chars(port.data(), port.data() + port.size(), address.port);
        if (failed != std::errc() || end != port.data() + port.size()) return malformed(text);
        address.host = host;
    } else {
        return malformed(text);
    }
    TRY_ASSIGN([[maybe_unused]] const SystemAddress valid, to_system(address));
    return address;
}

std::string Address::to_string() const {
    if (!path.empty()) return "unix:" + path;
    return host.contains(':') ? fmt::format("tcp:[{}]:{}", host, port)
                              : fmt::format("tcp:{}:{}", host, port);
}

// ---- Socket

// Lives in the awaiting frame; resumed through the executor's queue.
struct Socket::Operation final : Continuation {
    Operation(Socket& owner) : socket(owner) {}  // NOLINT(google-explicit-constructor)
    Socket& socket;
    std::coroutine_handle<> handle;
    int result = 0;

    io_uring_sqe& prepare() { return socket.reactor_.next_entry(); }
    bool await_ready() const noexcept { return false; }
    // The entry was prepared just before: nothing else is put into the ring in between.
    void await_suspend(std::coroutine_handle<> suspended) {
        handle = suspended;
        ++socket.in_flight_;
    }
    int await_resume() const noexcept { return result; }
    void resume() override { handle.resume(); }
    void start(io_uring_sqe& entry) {
        io_uring_sqe_set_data64(&entry, Reactor::tag(socket.client_, this));
    }
};

Socket::Socket(Reactor& reactor, FileDescriptor file, std::string peer)
    : reactor_(reactor), file_(std::move(file)), peer_(std::move(peer)),
      client_(reactor.add_client(*this)) {
    set_options(file_.get());
}

Socket::~Socket() {
    CHECK(in_flight_ == 0);
    reactor_.remove_client(client_);
}

void Socket::complete(void* item, int result) {
    auto& operation = *static_cast<Operation*>(item);
    operation.result = result;
    --in_flight_;
    reactor_.post(operation);
}

Task<Result<std::unique_ptr<Socket>>> Socket::connect(Reactor& reactor, Address address,
                                                      uint64_t timeout_ns) {
    CO_TRY_ASSIGN(SystemAddress system, to_system(address));
    CO_TRY_ASSIGN(FileDescriptor file, make_socket(address, system.family()));
    auto socket = std::make_unique<Socket>(reactor, std::move(file), address.to_string());
    __kernel_timespec limit{};
    limit.tv_sec = static_cast<int64_t>(timeout_ns / 1'000'000'000);
    limit.tv_nsec = static_cast<int64_t>(timeout_ns % 1'000'000'000);
    Operation connecting(*socket);
    Operation timer(*socket);
    TaskGroup group(reactor);
    {
        io_uring_sqe& entry = connecting.prepare();
        io_uring_prep_connect(&entry, socket->file_.get(), system.get(), system.length);
        entry.flags |= IOSQE_IO_LINK;
        connecting.start(entry);
        io_uring_sqe& timeout = timer.prepare();
        io_uring_prep_link_timeout(&timeout, &limit, 0);
        timer.start(timeout);
    }
    group.spawn([](Operation& until) -> Task<void> { co_await until; }(timer));
    const int result = co_await connecting;
    co_await group.join();
    if (result == -ECANCELED || result == -EINTR) {  // the second: it was already waiting
        co_return Error(ErrorCode::busy, fmt::format("{}: no answer within {} ms",
                                                     address.to_string(), timeout_ns / 1'000'000));
    }
    if (result < 0) co_return system_error(address.to_string() + ": cannot connect", -result);
    co_return std::move(socket);
}

Task<Result<size_t>> Socket::read_some(MutableBytes into) {
    CHECK(!into.empty());
    int result = 0;
    do {
        if (shut_down_) co_return Error(ErrorCode::cancelled, peer_ + ": the connection is closed");
        Operation operation(*this);
        io_uring_sqe& entry = operation.prepare();
        io_uring_prep_recv(&entry, file_.get(), into.data(), into.size(), 0);
        operation.start(entry);
        result = co_await operation;
    } while (result == -EINTR || result == -EAGAIN);
    if (shut_down_) co_return Error(ErrorCode::cancelled, peer_ + ": the connection is closed");
    if (result < 0) co_return system_error(peer_ + ": cannot receive", -result);
    co_return static_cast<size_t>(result);
}

Task<void> Socket::hung_up() {
    int result = 0;
    while (!shut_down_ && (result == 0 || result == -EINTR || result == -EAGAIN)) {
        Operation operation(*this);
        io_uring_sqe& entry = operation.prepare();
        io_uring_prep_poll_add(&entry, file_.get(), POLLRDHUP | POLLHUP | POLLERR);
        operation.start(entry);
        result = co_await operation;
    }
}

Task<Result<void>> Socket::write(std::span<ConstBytes> parts) {
    std::array<iovec, kPartsMax> vectors{};
    while (true) {
        size_t count = 0;
        while (!parts.empty() && parts.front().empty()) parts = parts.subspan(1);
        for (const ConstBytes& part : parts.first(std::min(parts.size(), kPartsMax))) {
            // sendmsg() does not write to what it sends.
            vectors.at(count++) = {const_cast<std::byte*>(part.data()), part.size()};
        }
        if (count == 0) co_return Result<void>{};
        if (shut_down_) co_return Error(ErrorCode::cancelled, peer_ + ": the connection is closed");
        msghdr message{};
        message.msg_iov = vectors.data();
        message.msg_iovlen = count;
        Operation operation(*this);
        io_uring_sqe& entry = operation.prepare();
        io_uring_prep_sendmsg(&entry, file_.get(), &message, MSG_NOSIGNAL | MSG_WAITALL);
        operation.start(entry);
        const int result = co_await operation;
        if (result == -EINTR || result == -EAGAIN) continue;
        if (shut_down_) co_return Error(ErrorCode::cancelled, peer_ + ": the connection is closed");
        if (result < 0) co_return system_error(peer_ + ": cannot send", -result);
        auto sent = static_cast<size_t>(result);
        while (sent > 0) {
            const size_t piece = std::min(sent, parts.front().size());
            parts.front() = parts.front().subspan(piece);
            sent -= piece;
            if (parts.front().empty()) parts = parts.subspan(1);
        }
    }
}

void Socket::shut_down() {
    if (shut_down_) return;
    shut_down_ = true;
    static_cast<void>(::shutdown(file_.get(), SHUT_RDWR));
}

Result<PeerCredentials> Socket::credentials() const {
    ucred who{};
    socklen_t length = sizeof who;
    if (getsockopt(file_.get(), SOL_SOCKET, SO_PEERCRED, &who, &length) != 0) {
        return system_error(peer_ + ": cannot ask who it is", errno);
    }
    return PeerCredentials{who.uid, who.gid, who.pid};
}

// ---- Listener

struct Listener::Operation final : Continuation {
    std::coroutine_handle<> handle;
    int result = 0;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> suspended) { handle = suspended; }
    int await_resume() const noexcept { return result; }
    void resume() override { handle.resume(); }
};

namespace {

Result<void> bind_tcp(int file, Address& address, SystemAddress& system, int backlog) {
    const int on = 1;
    static_cast<void>(setsockopt(file, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
    if (::bind(file, system.get(), system.length) != 0 || ::listen(file, backlog) != 0) {
        if (errno == EADDRINUSE) {
            return Error(ErrorCode::in_use,
                         address.to_string() + ": another process listens on this port", errno);
        }
        return system_error(address.to_string() + ": cannot listen", errno);
    }
    SystemAddress real;
    real.length = sizeof real.storage;
    if (getsockname(file, real.get(), &real.length) != 0) {
        return system_error(address.to_string() + ": cannot ask for the port", errno);
    }
    sockaddr_in both{};  // the port lies at the same place for both families
    static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));
    std::memcpy(&both, &real.storage, sizeof both);
    address.port = ntohs(both.sin_port);
    return {};
}

}  // namespace

Result<std::unique_ptr<Listener>> Listener::open(Reactor& reactor, Address address,
                                                 ListenOptions options) {
    TRY_ASSIGN(SystemAddress system, to_system(address));
    TRY_ASSIGN(FileDescriptor file, make_socket(address, system.family()));
    if (address.path.empty()) TRY(bind_tcp(file.get(), address, system, options.backlog));
    else TRY(bind_local(file.get(), address, options));
    std::unique_ptr<Listener> listener(
        new Listener(reactor, std::move(file), std::move(address), options.spares_descriptors));
    struct stat there{};
    if (!listener->address_.path.empty() && ::lstat(listener->address_.path.c_str(), &there) == 0) {
        listener->device_ = there.st_dev;
        listener->inode_ = there.st_ino;
    }
    return listener;
}

Listener::Listener(Reactor& reactor, FileDescriptor file, Address address, bool spares_descriptors)
    : reactor_(reactor), file_(std::move(file)), address_(std::move(address)),
      client_(reactor.add_client(*this)), spares_descriptors_(spares_descriptors) {}

Listener::~Listener() {
    CHECK(!accepting_);
    reactor_.remove_client(client_);
    struct stat there{};
    if (!address_.path.empty() && ::lstat(address_.path.c_str(), &there) == 0 &&
        there.st_dev == device_ && there.st_ino == inode_) {
        static_cast<void>(::unlink(address_.path.c_str()));
    }
}

void Listener::complete(void* item, int result) {
    auto& operation = *static_cast<Operation*>(item);
    operation.result = result;
    reactor_.post(operation);
}

Task<Result<std::unique_ptr<Socket>>> Listener::accept() {
    CHECK(!accepting_);
    while (!shut_down_) {
        sockaddr_storage from{};
        socklen_t length = sizeof from;
        Operation operation;
        io_uring_sqe& entry = reactor_.next_entry();
        io_uring_prep_accept(&entry, file_.get(), reinterpret_cast<sockaddr*>(&from), &length,
                             SOCK_CLOEXEC);
        io_uring_sqe_set_data64(&entry, Reactor::tag(client_, static_cast<void*>(&operation)));
        accepting_ = true;
        const int result = co_await operation;
        if (result >= 0) {
            accepting_ = false;
            FileDescriptor file(result);
            if (shut_down_) break;
            if (spares_descriptors_ && is_one_of_the_last(file)) {
                co_return Error(ErrorCode::busy,
                                address_.to_string() + ": no descriptors are left for clients");
            }
            co_return std::make_unique<Socket>(reactor_, std::move(file), name_of(from));
        }
        // The client waits in the backlog until some other connection has ended.
        const bool short_of =
            result == -EMFILE || result == -ENFILE || result == -ENOBUFS || result == -ENOMEM;
        if (short_of && !shut_down_) co_await reactor_.sleep_ns(kDescriptorRetryNs);
        accepting_ = false;
        const bool again = short_of || result == -EINTR || result == -EAGAIN ||
                           result == -ECONNABORTED || result == -EPROTO;
        if (!again && !shut_down_) {
            co_return system_error(address_.to_string() + ": cannot accept", -result);
        }
    }
    co_return Error(ErrorCode::cancelled, address_.to_string() + ": no longer listens");
}

void Listener::shut_down() {
    if (shut_down_) return;
    shut_down_ = true;
    static_cast<void>(::shutdown(file_.get(), SHUT_RDWR));
}

}  // namespace stoa::io
