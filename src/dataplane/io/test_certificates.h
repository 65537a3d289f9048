// For tests: authorities and the certificates they sign, made on the spot.
#pragma once

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "base/check.h"

namespace stoa::io {

struct TestCertificateOptions {
    std::string name = "somebody";
    std::string alternative;    // "DNS:host.test" or "IP:127.0.0.1"
    uint64_t now_ns = 0;        // wall clock
    int64_t begins_s = -3600;   // from now
    int64_t ends_s = 3600;
};

// A certificate with its key; one that signs others is an authority.
class TestCertificate {
public:
    // `signer` null: signs itself, and may sign others.
    TestCertificate(const TestCertificate* signer, const TestCertificateOptions& options)
        : key_(EVP_EC_gen("P-256"), EVP_PKEY_free), certificate_(X509_new(), X509_free) {
        CHECK(key_ != nullptr && certificate_ != nullptr);
        X509* made = certificate_.get();
        X509_set_version(made, X509_VERSION_3);
        static int64_t serial = 1;
        ASN1_INTEGER_set_int64(X509_get_serialNumber(made), serial++);
        const auto now = static_cast<time_t>(options.now_ns / 1'000'000'000);
        ASN1_TIME_set(X509_getm_notBefore(made), now + options.begins_s);
        ASN1_TIME_set(X509_getm_notAfter(made), now + options.ends_s);
        X509_set_pubkey(made, key_.get());
        X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN", MBSTRING_ASC,
                                   reinterpret_cast<const unsigned char*>(options.name.c_str()), -1,
                                   -1, 0);
        const TestCertificate& by = signer != nullptr ? *signer : *this;
        X509_set_issuer_name(made, X509_get_subject_name(by.certificate_.get()));
        if (signer == nullptr) extend(NID_basic_constraints, "critical,CA:TRUE");
        if (!options.alternative.empty()) extend(NID_subject_alt_name, options.alternative);
        CHECK(X509_sign(made, by.key_.get(), EVP_sha256()) > 0);
    }

    void write_certificate(const std::string& file) const {
        const std::unique_ptr<BIO, int (*)(BIO*)> to(BIO_new_file(file.c_str(), "w"), BIO_free);
        CHECK(to != nullptr && PEM_write_bio_X509(to.get(), certificate_.get()) == 1);
    }
    void write_key(const std::string& file) const {
        const std::unique_ptr<BIO, int (*)(BIO*)> to(BIO_new_file(file.c_str(), "w"), BIO_free);
        CHECK(to != nullptr && PEM_write_bio_PrivateKey(to.get(), key_.get(), nullptr, nullptr, 0,
                                                        nullptr, nullptr) == 1);
    }
    [[nodiscard]] std::string fingerprint() const {
        std::array<unsigned char, 32> digest{};
        CHECK(X509_digest(certificate_.get(), EVP_sha256(), digest.data(), nullptr) == 1);
        std::string text;
        for (const unsigned char each : digest) {
            if (!text.empty()) text += ':';
            text += "0123456789ABCDEF"[each / 16];
            text += "0123456789ABCDEF"[each % 16];
        }
        return text;
    }

private:
    void extend(int kind, const std::string& value) {
        X509_EXTENSION* made = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str());
        CHECK(made != nullptr && X509_add_ext(certificate_.get(), made, -1) == 1);
        X509_EXTENSION_free(made);
    }

    std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key_;
    std::unique_ptr<X509, void (*)(X509*)> certificate_;
};

}  // namespace stoa::io
