// TLS over any stream, by OpenSSL: versions 1.2 and 1.3 (RFC 5246, RFC 8446) with forward secrecy;
// no renegotiation, compression, early data or resumption.
//
// A stream that ends without TLS saying so is an error of the reader, never a clean end: what came
// before may have been cut off by somebody on the way.
// Behaviour, with certificates of all kinds and damage on the way: tls_test.cc.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "dataplane/io/executor.h"
#include "dataplane/io/stream.h"
#include "dataplane/io/task.h"

namespace stoa::io {

// All files are PEM.
struct TlsServerOptions {
    std::string certificate_file;  // the server's own first, then those up to its authority
    std::string key_file;          // without a passphrase
    std::string client_authority_file;  // clients show a certificate that one of these has signed;
                                        // empty: they need none
};

struct TlsClientOptions {
    // Whom to believe; at least one of the two, both must agree if both are given.
    std::string authority_file;
    // SHA-256 of the server's certificate, in hex with or without colons. Alone it stands for the
    // identity as a whole: neither dates nor names are looked at.
    std::string fingerprint;
    std::string host;  // name or IP address that the certificate is for; needs `authority_file`
    // What the client shows of itself; both or none.
    std::string certificate_file;
    std::string key_file;
};

class TlsContext {
public:
    // Both read their files now. Errors: invalid_argument (options or what is in a file),
    // not_found, io.
    static Result<std::unique_ptr<TlsContext>> server(TlsServerOptions options);
    static Result<std::unique_ptr<TlsContext>> client(TlsClientOptions options);
    TlsContext(const TlsContext&) = delete;
    TlsContext& operator=(const TlsContext&) = delete;
    ~TlsContext();

    // Reads the files again, for connections made from now on; those there go on as they are.
    // After an error all is as before.
    Result<void> reload();

    // The handshake over `plain`, which belongs to the new stream, and ends with the task if that
    // fails: whoever keeps a pointer to it may shut it down until then, for example after a time.
    // Dates of certificates are compared with the executor's wall clock. The context need not
    // outlive what it made. Errors: io (the other end has hung up, or one of the two refuses the
    // other: the message says why), cancelled (`plain` was shut down).
    // With TLS 1.3 a client learns with its first read that the server refuses it.
    Task<Result<std::unique_ptr<Stream>>> accept(Executor& executor, std::unique_ptr<Stream> plain);
    Task<Result<std::unique_ptr<Stream>>> connect(Executor& executor,
                                                  std::unique_ptr<Stream> plain);

private:
    struct Loaded;
    explicit TlsContext(TlsServerOptions options);
    explicit TlsContext(TlsClientOptions options);

    const bool is_server_;
    const TlsServerOptions server_;
    const TlsClientOptions client_;
    std::shared_ptr<const Loaded> loaded_;  // shared: connections outlive a reload
};

}  // namespace stoa::io
