// TLS of one attachment, for its NBD server.
#pragma once

#include <memory>
#include <utility>

#include "dataplane/io/tls.h"
#include "dataplane/serve/nbd/handshake.h"
#include "rpc/blockd.h"

namespace stoa::service {

class TlsGuard final : public nbd::TlsUpgrade {
public:
    // Reads the files. Errors: those of io::TlsContext::server().
    static Result<std::unique_ptr<TlsGuard>> create(io::Executor& executor, const rpc::Tls& files) {
        TRY_ASSIGN(auto context, io::TlsContext::server({files.certificate_file, files.key_file,
                                                         files.client_authority_file}));
        return std::unique_ptr<TlsGuard>(new TlsGuard(executor, std::move(context)));
    }

    // For connections made from now on.
    Result<void> reload() { return context_->reload(); }
    io::Task<Result<std::unique_ptr<io::Stream>>> encrypt(
        std::unique_ptr<io::Stream> plain) override {
        return context_->accept(executor_, std::move(plain));  // tidy: allow syscall: TLS's
    }

private:
    TlsGuard(io::Executor& executor, std::unique_ptr<io::TlsContext> context)
        : executor_(executor), context_(std::move(context)) {}
    io::Executor& executor_;
    const std::unique_ptr<io::TlsContext> context_;
};

}  // namespace stoa::service
