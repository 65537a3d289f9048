// Authorizer: who asks, and whether he may. Implemented by access/.
#pragma once

#include <string>
#include <string_view>

#include "controlplane/async/async.h"
#include "controlplane/http/service.h"

namespace stoa::http {

struct Credentials {
    Peer peer = {};
    std::string bearer = {};  // of "Authorization: Bearer"; empty: none
};

struct Principal {
    std::string name = {};   // "user/ID", "token/ID", "local/UID"
    std::string login = {};  // for people, in audit and events: "anna", "root"
};

class Authorizer {
public:
    Authorizer() = default;
    Authorizer(const Authorizer&) = delete;
    Authorizer& operator=(const Authorizer&) = delete;
    virtual ~Authorizer() = default;

    // Errors: denied (answered with 401): none, wrong or expired ones.
    virtual Async<Principal> authenticate(const Credentials& credentials) = 0;
    // Whom a ticket was given to, as of now. Errors: denied (no longer there, or disabled).
    virtual Result<Principal> find(const std::string& name) = 0;
    // `permission` such as "vm.start"; `resource` such as "/", "/vm", "/vm/ID". Ids only.
    // Errors: denied (answered with 403): says which permission is lacking where.
    virtual Result<void> authorize(const Principal& principal, std::string_view permission,
                                   std::string_view resource) = 0;
};

}  // namespace stoa::http
