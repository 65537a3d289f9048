#include "controlplane/http/tickets.h"

#include <algorithm>

#include <fmt/format.h>

namespace stoa::http {

std::string Tickets::issue(std::string principal, std::string path) {
    const int64_t now_ns = clock_();
    std::erase_if(tickets_,
                  [&](const auto& one) { return now_ns - one.second.issued_ns > kLifeNs; });
    if (tickets_.size() >= kTicketsMax) {
        tickets_.erase(std::ranges::min_element(
            tickets_, {}, [](const auto& one) { return one.second.issued_ns; }));
    }
    std::string word = fmt::format("{:016x}{:016x}", random_(), random_());
    tickets_[word] = {
        .principal = std::move(principal), .path = std::move(path), .issued_ns = now_ns};
    return word;
}

Result<std::string> Tickets::redeem(const std::string& ticket, const std::string& path) {
    const auto found = tickets_.find(ticket);
    const bool known = found != tickets_.end();
    Ticket given;
    if (known) {
        given = std::move(found->second);
        tickets_.erase(found);
    }
    if (!known || given.path != path || clock_() - given.issued_ns > kLifeNs) {
        return Error(ErrorCode::denied,
                     "the ticket is not good: it was used already, is older "
                     "than 30 s, or is for something else; ask for a new one");
    }
    return given.principal;
}

}  // namespace stoa::http
