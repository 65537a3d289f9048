// Origins: NBD exports from which volumes take the blocks that they do not hold yet. Conventions:
// blockd.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "base/describe.h"

namespace stoa::rpc {

// Files are PEM and are read by the daemon.
struct OriginTls {
    std::string authority_file;
    std::string fingerprint;
    std::string host;
    std::string certificate_file;
    std::string key_file;
    static constexpr auto fields() {
        return std::tuple(
            optional("authority_file", &OriginTls::authority_file, "whom to believe"),
            optional("fingerprint", &OriginTls::fingerprint,
                     "SHA-256 of the server's certificate, instead of an authority or besides"),
            optional("host", &OriginTls::host, "whom the certificate is for; needs authority_file"),
            optional("certificate_file", &OriginTls::certificate_file, "shown to the server"),
            optional("key_file", &OriginTls::key_file, "of certificate_file"));
    }
    friend bool operator==(const OriginTls&, const OriginTls&) = default;
};

struct OriginCreate {
    std::optional<Uuid> uuid;
    std::string address;
    std::string export_name;
    std::optional<OriginTls> tls;
    static constexpr auto fields() {
        return std::tuple(
            optional("uuid", &OriginCreate::uuid, "chosen by the caller"),
            required("address", &OriginCreate::address, "unix:PATH or tcp:HOST:PORT of a server"),
            optional("export_name", &OriginCreate::export_name, "default: the empty one"),
            optional("tls", &OriginCreate::tls, "default: in the clear"));
    }
};

struct OriginRef {
    Uuid origin;
    static constexpr auto fields() {
        return std::tuple(required("origin", &OriginRef::origin, "its UUID"));
    }
};

struct OriginStatus {
    Uuid uuid;
    std::string address;
    std::string export_name;
    uint64_t size_bytes = 0;
    bool connected = false;
    std::string error;
    std::vector<std::string> users;
    static constexpr auto fields() {
        return std::tuple(
            required("uuid", &OriginStatus::uuid, ""),
            required("address", &OriginStatus::address, ""),
            required("export_name", &OriginStatus::export_name, ""),
            required("size_bytes", &OriginStatus::size_bytes, "when it was first seen"),
            required("connected", &OriginStatus::connected, ""),
            optional("error", &OriginStatus::error, "why it is not connected"),
            required("users", &OriginStatus::users,
                     "volumes and snapshots of open pools that still ask it"));
    }
};

struct OriginList {
    std::vector<OriginStatus> origins;
    static constexpr auto fields() {
        return std::tuple(required("origins", &OriginList::origins, ""));
    }
};

}  // namespace stoa::rpc
