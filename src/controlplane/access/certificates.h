// The instance's certificates: an authority of its own (CA), and the leaf that the API shows.
//
// EC P-256. The CA is valid for 10 years, the leaf for 90 days; it is made anew when two thirds of
// that are over, when it does not hold a name that is wanted, or when a key or file does not fit.
// Files in DIRECTORY, mode 0600: ca.pem, ca.key, leaf.pem (leaf, then CA), leaf.key. Clients pin
// the CA by its fingerprint.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace stoa::access {

struct CertificateOptions {
    std::string directory;  // made if missing, mode 0700
    std::string instance;   // 8 hex digits; in the CA's name
    // Of the leaf: DNS names, IPv4 and IPv6 addresses.
    std::vector<std::string> names = {"localhost", "127.0.0.1", "::1"};
    int64_t now_ns = 0;      // since 1970
    bool make_anew = false;  // the leaf, whatever there is
};

struct Certificates {
    std::string chain_pem;  // leaf, CA
    std::string key_pem;    // the leaf's; a secret
    std::string ca_pem;
    std::string fingerprint;  // of the CA: SHA-256, "AB:CD:…"
    int64_t leaf_ends_ns = 0;
    int64_t renew_ns = 0;  // ask again then
    bool is_new = false;   // the leaf was made by this call
};

// What is there, or what had to be made. A CA that is over or cannot be read is not replaced: it is
// pinned by clients, so that an administrator removes it.
// Errors: corrupt (names the file, and what to do), denied, no_space, io.
[[nodiscard]] Result<Certificates> ensure_certificates(const CertificateOptions& options);

}  // namespace stoa::access
