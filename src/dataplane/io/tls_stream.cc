#include "dataplane/io/tls_stream.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#include <algorithm>
#include <cstring>

namespace stoa::io {

namespace {

std::string_view reason_of_verification(long result) {
    switch (result) {
        case X509_V_ERR_CERT_HAS_EXPIRED: return "its certificate has expired";
        case X509_V_ERR_CERT_NOT_YET_VALID: return "its certificate is not valid yet";
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
        case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        case X509_V_ERR_CERT_SIGNATURE_FAILURE:
            return "its certificate is signed by an unknown authority";
        case X509_V_ERR_HOSTNAME_MISMATCH:
        case X509_V_ERR_IP_ADDRESS_MISMATCH: return "its certificate is for another host";
        case X509_V_ERR_CERT_REJECTED: return "its certificate has another fingerprint";
        case X509_V_ERR_INVALID_PURPOSE: return "its certificate is for another purpose";
        default: return X509_verify_cert_error_string(result);
    }
}

}  // namespace

std::string openssl_reason() {
    const unsigned long first = ERR_peek_error();
    ERR_clear_error();
    const int reason = ERR_GET_REASON(first);
    if (ERR_GET_LIB(first) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET) {
        return fmt::format("the other end refuses: {}",
                           SSL_alert_desc_string_long(reason - SSL_AD_REASON_OFFSET));
    }
    const char* text = ERR_reason_error_string(first);
    return text != nullptr ? std::string(text) : fmt::format("OpenSSL error {:#x}", first);
}

TlsStream::TlsStream(Executor& executor, std::unique_ptr<Stream> plain,
                     std::shared_ptr<const void> keeps, SslPointer ssl)
    : plain_(std::move(plain)), keeps_(std::move(keeps)), ssl_(std::move(ssl)),
      in_(BIO_new(BIO_s_mem())), out_(BIO_new(BIO_s_mem())), received_(kPullBytes),
      pulled_(executor) {
    CHECK(in_ != nullptr && out_ != nullptr);
    BIO_set_mem_eof_return(in_, -1);  // nothing there: not yet
    SSL_set_bio(ssl_.get(), in_, out_);
}

Error TlsStream::cancelled() const {
    return {ErrorCode::cancelled, peer() + ": the connection is closed"};
}

// Of the last call to OpenSSL; right after it, for its queue belongs to the whole thread.
Error TlsStream::failure(std::string_view during) {
    const unsigned long first = ERR_peek_error();
    const int reason = ERR_GET_LIB(first) == ERR_LIB_SSL ? ERR_GET_REASON(first) : 0;
    std::string why;
    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        why = reason_of_verification(SSL_get_verify_result(ssl_.get()));
    } else if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
        why = "it shows no certificate";
    } else if (reason == SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC) {
        why = "what arrives is not what was sent";
    } else {
        why = openssl_reason();
    }
    ERR_clear_error();
    failed_ = Error(ErrorCode::io, fmt::format("{}: {}: {}", peer(), during, why));
    return *failed_;
}

Task<Result<void>> TlsStream::shake_hands() {
    while (true) {
        ERR_clear_error();
        const int result = SSL_do_handshake(ssl_.get());
        const int kind = SSL_get_error(ssl_.get(), result);
        if (result != 1 && kind != SSL_ERROR_WANT_READ) {
            Error error = failure("TLS handshake");
            // The other end should learn why, if it still listens.
            static_cast<void>(co_await push());
            co_return error;
        }
        CO_TRY(co_await push());
        if (result == 1) co_return Result<void>{};
        auto more = co_await pull();
        if (!more.ok() && more.error().code() == ErrorCode::io) {
            co_return more.error().with_context("TLS handshake");
        }
        CO_TRY(std::move(more));
    }
}

// Gives OpenSSL more of what arrives; whoever called then tries again. The reader does it, and a
// writer if OpenSSL wants to see the rest of a message before it goes on.
Task<Result<void>> TlsStream::pull() {
    if (pulling_) {
        co_await pulled_.wait();
        co_return Result<void>{};
    }
    pulling_ = true;
    const Result<size_t> got = co_await plain_->read_some(received_);
    pulling_ = false;
    pulled_.notify_all();
    if (!got.ok()) co_return got.error();
    if (*got == 0) {
        co_return Error(ErrorCode::io,
                        peer() + " has hung up without ending TLS: something may be missing");
    }
    CHECK(BIO_write(in_, received_.data(), static_cast<int>(*got)) == static_cast<int>(*got));
    co_return Result<void>{};
}

// Sends what OpenSSL has written. Only one at a time: whoever writes.
Task<Result<void>> TlsStream::push() {
    const size_t pending = BIO_ctrl_pending(out_);
    if (pending == 0) co_return Result<void>{};
    // Out of the BIO first: a reader may let OpenSSL add to it meanwhile.
    sending_.resize(pending);
    CHECK(BIO_read(out_, sending_.data(), static_cast<int>(pending)) == static_cast<int>(pending));
    co_return co_await write_all(*plain_, sending_);
}

Task<Result<size_t>> TlsStream::read_some(MutableBytes into) {
    CHECK(!into.empty());
    size_t filled = 0;
    while (true) {
        if (shut_down_) co_return cancelled();
        if (failed_) co_return *failed_;
        size_t got = 0;
        ERR_clear_error();
        const int result =
            SSL_read_ex(ssl_.get(), into.data() + filled, into.size() - filled, &got);
        if (result == 1) {
            filled += got;
            if (filled == into.size()) co_return filled;
            continue;  // the next record may be here already
        }
        switch (SSL_get_error(ssl_.get(), result)) {
            case SSL_ERROR_WANT_READ:
                if (filled > 0) co_return filled;
                CO_TRY(co_await pull());
                break;
            case SSL_ERROR_ZERO_RETURN: co_return filled;
            default: {
                Error error = failure("TLS");
                if (filled > 0) co_return filled;  // the error comes next time
                co_return error;
            }
        }
    }
}

Task<Result<void>> TlsStream::encrypt(ConstBytes record) {
    while (true) {
        if (shut_down_) co_return cancelled();
        if (failed_) co_return *failed_;
        size_t written = 0;
        ERR_clear_error();
        const int result = SSL_write_ex(ssl_.get(), record.data(), record.size(), &written);
        if (result == 1) {
            CHECK(written == record.size());
            co_return Result<void>{};
        }
        if (SSL_get_error(ssl_.get(), result) != SSL_ERROR_WANT_READ) co_return failure("TLS");
        CO_TRY(co_await pull());
    }
}

Task<Result<void>> TlsStream::write(std::span<ConstBytes> parts) {
    while (true) {
        while (!parts.empty() && parts.front().empty()) parts = parts.subspan(1);
        if (parts.empty()) break;
        ConstBytes record;
        if (parts.size() == 1 || parts.front().size() >= kRecordBytes) {
            record = parts.front().first(std::min(parts.front().size(), kRecordBytes));
            parts.front() = parts.front().subspan(record.size());
        } else {
            // Small parts share a record.
            record_.clear();
            while (!parts.empty() && record_.size() < kRecordBytes) {
                const size_t piece = std::min(parts.front().size(), kRecordBytes - record_.size());
                record_.insert(record_.end(), parts.front().begin(),
                               parts.front().begin() + static_cast<ptrdiff_t>(piece));
                parts.front() = parts.front().subspan(piece);
                if (parts.front().empty()) parts = parts.subspan(1);
            }
            record = record_;
            if (record.empty()) break;
        }
        CO_TRY(co_await encrypt(record));
        if (BIO_ctrl_pending(out_) >= kPushBytes) CO_TRY(co_await push());
    }
    co_return co_await push();
}

Task<Result<void>> TlsStream::finish() {
    if (shut_down_) co_return cancelled();
    if (failed_) co_return *failed_;
    ERR_clear_error();
    if (SSL_shutdown(ssl_.get()) < 0) co_return failure("TLS");
    co_return co_await push();
}

void TlsStream::shut_down() {
    shut_down_ = true;
    plain_->shut_down();
}

}  // namespace stoa::io
