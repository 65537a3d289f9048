// The API: what stands between the server and the parts of the control plane. Finds the route of a
// request, asks who it is from and whether he may, reads its body, and runs the route's handler:
//
//     Read, Direct, Upload, Live   run as they are
//     Change                       planned; then shown (plan=true), or submitted to the engine, if
//                                  the record is of the revision asked for (If-Match) and the plan
//                                  is the one that was shown (plan_token); once for a key
//                                  (Idempotency-Key)
//
// Every change, and every try that was refused, leaves an audit entry without secrets.
// docs/api.md tells it from the client's side; api_test.cc shows it by text.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "controlplane/api/context.h"
#include "controlplane/async/async.h"
#include "controlplane/http/route.h"
#include "controlplane/http/service.h"

namespace stoa::api {

// One thread.
class Api final : public http::Service {
public:
    // `context` outlives it. `routes`: those of all kinds; system_routes() and record_routes() of
    // this folder come in by themselves.
    // Errors: invalid_argument (a route that is there twice, or whose template is wrong).
    static Result<std::unique_ptr<Api>> create(Context& context, std::vector<http::Route> routes);
    Api(const Api&) = delete;
    Api& operator=(const Api&) = delete;
    ~Api() override;

    asio::awaitable<http::Response> handle(http::Exchange& exchange) override;
    [[nodiscard]] std::span<const http::Route> routes() const;

private:
    struct State;
    explicit Api(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace stoa::api
