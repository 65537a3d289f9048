#include "controlplane/http/listener.h"

#include <array>
#include <filesystem>
#include <system_error>
#include <vector>

#include <fmt/format.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/utf8.h"
#include "controlplane/async/async.h"

namespace stoa::http {

namespace {

constexpr size_t kPathBytesMax = sizeof(sockaddr_un::sun_path) - 1;
constexpr std::string_view kSuffix = "~";  // of the socket before it has its place
constexpr size_t kGroupsMax = 65'536;      // NGROUPS_MAX of Linux

// A socket option of the size that its value has.
template <int kOption, class Value>
struct PeerOption {
    std::vector<Value> values;
    [[nodiscard]] static int level(const auto& /*protocol*/) { return SOL_SOCKET; }
    [[nodiscard]] static int name(const auto& /*protocol*/) { return kOption; }
    void* data(const auto& /*protocol*/) { return values.data(); }
    [[nodiscard]] size_t size(const auto& /*protocol*/) const {
        return values.size() * sizeof(Value);
    }
    void resize(const auto& /*protocol*/, size_t bytes) { values.resize(bytes / sizeof(Value)); }
};

// Gives the socket's file to a group, if there is one of that name and we may.
void give_to_group(const std::string& path, const std::string& name) {
    if (name.empty()) return;
    group entry{};
    group* found = nullptr;
    std::vector<char> buffer(64u << 10);
    if (getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0) return;
    if (found == nullptr) return;
    // Who is neither root nor in the group keeps the socket to himself, which is no error.
    (void)!chown(path.c_str(), static_cast<uid_t>(-1), found->gr_gid);
}

}  // namespace

Result<asio::local::stream_protocol::acceptor> listen_at(const asio::any_io_executor& executor,
                                                         const std::string& path,
                                                         const std::string& group) {
    const std::string shown = to_plain_text(path);
    if (path.empty() || path.front() != '/' || path.size() + kSuffix.size() > kPathBytesMax ||
        path.find('\0') != std::string::npos) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("socket \"{}\": must be an absolute path of at most {} bytes",
                                 shown, kPathBytesMax - kSuffix.size()));
    }
    const std::string fresh = path + std::string(kSuffix);
    const std::string what = fmt::format("socket {}", shown);
    std::error_code file_error;
    std::filesystem::remove(fresh, file_error);
    boost::system::error_code error;
    asio::local::stream_protocol::acceptor acceptor(executor);
    acceptor.open(asio::local::stream_protocol(), error);
    if (error) return failed(what, error);
    acceptor.bind(asio::local::stream_protocol::endpoint(fresh), error);
    if (error) return failed(what, error);
    using std::filesystem::perms;
    std::filesystem::permissions(
        fresh, perms::owner_read | perms::owner_write | perms::group_read | perms::group_write,
        file_error);
    if (file_error) return failed(what, file_error);
    give_to_group(fresh, group);
    acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (error) return failed(what, error);
    std::filesystem::rename(fresh, path, file_error);
    if (file_error) return failed(what, file_error);
    return acceptor;
}

Result<asio::ip::tcp::acceptor> listen_at(const asio::any_io_executor& executor,
                                          const asio::ip::address& address, uint16_t port) {
    const asio::ip::tcp::endpoint endpoint(address, port);
    const std::string what = fmt::format("TCP port {} of {}", port, address.to_string());
    boost::system::error_code error;
    asio::ip::tcp::acceptor acceptor(executor);
    acceptor.open(endpoint.protocol(), error);
    if (error) return failed(what, error);
    acceptor.set_option(asio::socket_base::reuse_address(true), error);
    if (error) return failed(what, error);
    acceptor.bind(endpoint, error);
    if (error) return failed(what, error);
    acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (error) return failed(what, error);
    return acceptor;
}

Result<Peer> peer_of(asio::local::stream_protocol::socket& socket) {
    PeerOption<SO_PEERCRED, ucred> credentials;
    credentials.values.resize(1);
    boost::system::error_code error;
    socket.get_option(credentials, error);
    if (error || credentials.values.size() != 1) return failed("credentials of the client", error);
    const ucred& who = credentials.values.front();
    Peer peer{.is_local = true,
              .uid = who.uid,
              .gid = who.gid,
              .groups = {},
              .pid = who.pid,
              .address = "unix"};
    PeerOption<SO_PEERGROUPS, gid_t> groups;
    groups.values.resize(64);
    socket.get_option(groups, error);
    if (error == asio::error::basic_errors::message_size || error.value() == ERANGE) {
        groups.values.resize(kGroupsMax);
        socket.get_option(groups, error);
    }
    if (error) return failed("groups of the client", error);
    peer.groups.assign(groups.values.begin(), groups.values.end());
    return peer;
}

}  // namespace stoa::http
