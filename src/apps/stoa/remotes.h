// Control planes of other machines, as this user knows them: ~/.config/stoa/remotes.json (mode
// 0600), where each has its pinned certificate and perhaps a token.
#pragma once

#include <string>
#include <tuple>
#include <vector>

#include "base/describe.h"
#include "base/result.h"
#include "client/endpoint.h"

namespace stoa::cli {

struct Remote {
    std::string name;
    std::string url;
    std::string certificate;
    std::string fingerprint;
    std::string token;
    static constexpr auto fields() {
        return std::tuple(required("name", &Remote::name, ""), required("url", &Remote::url, ""),
                          required("certificate", &Remote::certificate, "PEM; what is trusted"),
                          required("fingerprint", &Remote::fingerprint, "its SHA-256"),
                          optional("token", &Remote::token, "as which user"));
    }
};

struct Remotes {
    std::vector<Remote> remotes;
    static constexpr auto fields() {
        return std::tuple(optional("remotes", &Remotes::remotes, ""));
    }
};

// Where the file is: STOA_CONFIG, or in XDG_CONFIG_HOME, or in HOME.
[[nodiscard]] std::string remotes_path();
// Errors: corrupt, denied (others may read it), io. A file that is not there holds none.
Result<Remotes> load_remotes();
Result<void> save_remotes(const Remotes& remotes);

// Errors: not_found, with those that there are.
Result<client::Endpoint> find_remote(const std::string& name);

}  // namespace stoa::cli
