#include "controlplane/access/certificate_keeper.h"

#include <boost/asio/steady_timer.hpp>

namespace stoa::access {

AsyncVoid keep_certificates(KeeperOptions options, const host::Clock& clock, Worker& worker) {
    asio::steady_timer timer(co_await asio::this_coro::executor);
    for (;;) {
        CertificateOptions now = options.certificates;
        now.now_ns = clock.wall_ns();
        now.make_anew = false;
        auto looked = co_await worker.run([&now] { return ensure_certificates(now); });
        if (!looked.ok() || looked->is_new) options.changed(std::move(looked));
        timer.expires_after(options.interval);
        const auto [cancelled] = co_await timer.async_wait(kAwait);
        if (cancelled) co_return;
    }
}

}  // namespace stoa::access
