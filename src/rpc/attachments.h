// Attachments: what is served, and where. Conventions: blockd.h.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/describe.h"

namespace stoa::rpc {

// Files are PEM and are read by the daemon.
struct Tls {
    std::string certificate_file;
    std::string key_file;
    std::string client_authority_file;
    static constexpr auto fields() {
        return std::tuple(
            required("certificate_file", &Tls::certificate_file, "the server's own first"),
            required("key_file", &Tls::key_file, "without a passphrase"),
            optional("client_authority_file", &Tls::client_authority_file,
                     "clients need a certificate that it signed"));
    }
    friend bool operator==(const Tls&, const Tls&) = default;
};

struct AttachmentCreate {
    std::optional<Uuid> uuid;
    std::string pool;
    std::string object;
    std::string listen;
    uint64_t epoch = 0;
    bool read_only = false;
    std::optional<uint32_t> owner;
    std::optional<uint32_t> group;
    std::string mode = "0600";
    std::string export_name;
    std::optional<Tls> tls;
    bool insecure = false;
    static constexpr auto fields() {
        return std::tuple(
            optional("uuid", &AttachmentCreate::uuid, "chosen by the caller"),
            required("pool", &AttachmentCreate::pool, ""),
            required("object", &AttachmentCreate::object, "volume, or snapshot (always read-only)"),
            required("listen", &AttachmentCreate::listen,
                     "unix:PATH or tcp:HOST:PORT; port 0: one that is free"),
            optional("epoch", &AttachmentCreate::epoch,
                     "of a read-write attachment: above that of the one it cuts off"),
            optional("read_only", &AttachmentCreate::read_only, ""),
            optional("owner", &AttachmentCreate::owner, "uid of the Unix socket"),
            optional("group", &AttachmentCreate::group, "gid of the Unix socket"),
            optional("mode", &AttachmentCreate::mode, "of the Unix socket, octal"),
            optional("export_name", &AttachmentCreate::export_name,
                     "besides the empty one; default: the volume's name"),
            optional("tls", &AttachmentCreate::tls, "no client is served without TLS then"),
            optional("insecure", &AttachmentCreate::insecure,
                     "serve a network in the clear: anybody there can read and write"));
    }
};

struct AttachmentRef {
    Uuid uuid;
    static constexpr auto fields() {
        return std::tuple(required("uuid", &AttachmentRef::uuid, ""));
    }
};

enum class AttachmentState : uint8_t { serving, waiting };
constexpr std::array<std::string_view, 2> enum_names(AttachmentState /*type*/) {
    return {"serving", "waiting"};
}

struct AttachmentStatus {
    Uuid uuid;
    Uuid pool;
    Uuid object;
    std::string listen;
    std::string uri;
    uint64_t epoch = 0;
    bool read_only = false;
    AttachmentState state = AttachmentState::serving;
    std::string error;
    uint32_t connections = 0;
    static constexpr auto fields() {
        return std::tuple(required("uuid", &AttachmentStatus::uuid, ""),
                          required("pool", &AttachmentStatus::pool, ""),
                          required("object", &AttachmentStatus::object, ""),
                          required("listen", &AttachmentStatus::listen, "with the real port"),
                          required("uri", &AttachmentStatus::uri, "for NBD clients"),
                          required("epoch", &AttachmentStatus::epoch, ""),
                          required("read_only", &AttachmentStatus::read_only, ""),
                          required("state", &AttachmentStatus::state, ""),
                          optional("error", &AttachmentStatus::error, "what it waits for"),
                          required("connections", &AttachmentStatus::connections, "clients now"));
    }
};

struct AttachmentList {
    std::vector<AttachmentStatus> attachments;
    static constexpr auto fields() {
        return std::tuple(required("attachments", &AttachmentList::attachments, ""));
    }
};

}  // namespace stoa::rpc
