// The stream that TlsContext makes; for tls.cc only. OpenSSL works on memory here: bytes go between
// its two memory BIOs and the stream below.
#pragma once

#include <openssl/ssl.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/io/stream.h"
#include "dataplane/io/sync.h"

namespace stoa::io {

template <auto kFree>
struct OpensslDeleter {
    template <class T>
    void operator()(T* object) const {
        kFree(object);
    }
};
using SslPointer = std::unique_ptr<SSL, OpensslDeleter<SSL_free>>;

// Why OpenSSL has refused something, in words; empties its queue of errors.
[[nodiscard]] std::string openssl_reason();

class TlsStream final : public Stream {
public:
    // `keeps` lives as long as the stream.
    TlsStream(Executor& executor, std::unique_ptr<Stream> plain, std::shared_ptr<const void> keeps,
              SslPointer ssl);
    TlsStream(const TlsStream&) = delete;
    TlsStream& operator=(const TlsStream&) = delete;

    // Before anything else.
    Task<Result<void>> shake_hands();

    Task<Result<size_t>> read_some(MutableBytes into) override;
    Task<Result<void>> write(std::span<ConstBytes> parts) override;
    Task<Result<void>> finish() override;
    void shut_down() override;
    Task<void> hung_up() override { return plain_->hung_up(); }
    [[nodiscard]] const std::string& peer() const override { return plain_->peer(); }

private:
    static constexpr size_t kRecordBytes = 16 * 1024;  // of plain text, the most TLS has
    static constexpr size_t kPullBytes = 32 * 1024;
    static constexpr size_t kPushBytes = 128 * 1024;

    Task<Result<void>> pull();
    Task<Result<void>> push();
    Task<Result<void>> encrypt(ConstBytes record);
    [[nodiscard]] Error failure(std::string_view during);
    [[nodiscard]] Error cancelled() const;

    const std::unique_ptr<Stream> plain_;
    const std::shared_ptr<const void> keeps_;  // shared: see TlsContext
    const SslPointer ssl_;
    BIO* const in_;  // owned by ssl_
    BIO* const out_;  // the same
    std::vector<std::byte> received_;
    std::vector<std::byte> sending_;
    std::vector<std::byte> record_;
    std::optional<Error> failed_;  // nothing is read or written any more
    Condition pulled_;
    bool pulling_ = false;  // somebody reads from `plain_`
    bool shut_down_ = false;
};

}  // namespace stoa::io
