#include "controlplane/access/certificates.h"

#include <algorithm>
#include <memory>

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "controlplane/access/secret.h"
#include "controlplane/host/files.h"

namespace stoa::access {

namespace {

constexpr int64_t kDayNs = int64_t{86'400} * 1'000'000'000;
constexpr int64_t kCaDays = 3652;
constexpr int64_t kLeafDays = 90;
constexpr int64_t kRenewDays = 60;  // two thirds
constexpr int64_t kEarlierNs = 300'000'000'000;  // clocks of clients may be behind
constexpr size_t kFileBytesMax = 65'536;
constexpr size_t kSerialBytes = 16;

template <auto Free>
struct Freer {
    template <class T>
    void operator()(T* one) const {
        Free(one);
    }
};
using Key = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Freer<X509_free>>;
using Bio = std::unique_ptr<BIO, Freer<BIO_free_all>>;
using Extension = std::unique_ptr<X509_EXTENSION, Freer<X509_EXTENSION_free>>;

struct Pair {
    Certificate certificate;
    Key key;
};

Error openssl_error(std::string_view what) {
    std::string text(256, '\0');
    ERR_error_string_n(ERR_get_error(), text.data(), text.size());
    ERR_clear_error();
    return {ErrorCode::io, fmt::format("{}: {}", what, text.c_str())};
}

std::string text_of(BIO* bio) {
    char* data = nullptr;
    const int64_t size = BIO_get_mem_data(bio, &data);
    return {data, static_cast<size_t>(std::max<int64_t>(size, 0))};
}

std::string to_pem(X509* certificate) {
    const Bio bio(BIO_new(BIO_s_mem()));
    PEM_write_bio_X509(bio.get(), certificate);
    return text_of(bio.get());
}

std::string to_pem(EVP_PKEY* key) {
    const Bio bio(BIO_new(BIO_s_mem()));
    PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
    return text_of(bio.get());
}

std::string to_der(X509* certificate) {
    unsigned char* out = nullptr;
    const int size = i2d_X509(certificate, &out);
    const std::string der(reinterpret_cast<const char*>(out),
                          static_cast<size_t>(std::max(size, 0)));
    OPENSSL_free(out);
    return der;
}

// Nothing if one of them cannot be read, or they do not belong together.
Pair parse(const std::string& certificate_pem, const std::string& key_pem) {
    const Bio first(
        BIO_new_mem_buf(certificate_pem.data(), static_cast<int>(certificate_pem.size())));
    const Bio second(BIO_new_mem_buf(key_pem.data(), static_cast<int>(key_pem.size())));
    Pair pair{Certificate(PEM_read_bio_X509(first.get(), nullptr, nullptr, nullptr)),
              Key(PEM_read_bio_PrivateKey(second.get(), nullptr, nullptr, nullptr))};
    const bool fits = pair.certificate != nullptr && pair.key != nullptr &&
                      X509_check_private_key(pair.certificate.get(), pair.key.get()) == 1;
    ERR_clear_error();
    return fits ? std::move(pair) : Pair{};
}

void set_time(ASN1_TIME* time, int64_t at_ns) {
    ASN1_TIME_set(time, static_cast<time_t>(at_ns / 1'000'000'000));
}

int64_t ends_ns(X509* certificate, int64_t now_ns) {
    std::unique_ptr<ASN1_TIME, Freer<ASN1_STRING_free>> now(ASN1_TIME_new());
    set_time(now.get(), now_ns);
    int days = 0;
    int seconds = 0;
    ASN1_TIME_diff(&days, &seconds, now.get(), X509_get0_notAfter(certificate));
    return now_ns + days * kDayNs + int64_t{seconds} * 1'000'000'000;
}

bool add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
    return extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool is_address(const std::string& name) {
    std::unique_ptr<ASN1_OCTET_STRING, Freer<ASN1_OCTET_STRING_free>> address(
        a2i_IPADDRESS(name.c_str()));
    ERR_clear_error();
    return address != nullptr;
}

// Letters, digits and what stands in names and addresses: nothing that OpenSSL's syntax reads.
Result<std::string> alternative_names(const std::vector<std::string>& names) {
    const auto fits = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '.' || c == ':';
    };
    std::string all;
    for (const std::string& name : names) {
        if (name.empty() || !std::ranges::all_of(name, fits)) {
            return Error(ErrorCode::invalid_argument,
                         fmt::format("certificate: \"{}\" is no name of a host", name));
        }
        all +=
            fmt::format("{}{}:{}", all.empty() ? "" : ",", is_address(name) ? "IP" : "DNS", name);
    }
    return all;
}

struct Wish {
    std::string common_name;
    int64_t now_ns = 0;
    int64_t days = 0;
    bool is_ca = false;
    std::string names;  // of a leaf
};

Result<Pair> make(const Wish& wish, const Pair* issuer) {
    Pair made{Certificate(X509_new()), Key(EVP_EC_gen("P-256"))};
    if (made.certificate == nullptr || made.key == nullptr) return openssl_error("certificate");
    X509* const x509 = made.certificate.get();
    X509* const signer = issuer == nullptr ? x509 : issuer->certificate.get();
    unsigned char serial[kSerialBytes];
    if (RAND_bytes(serial, sizeof serial) != 1) return openssl_error("certificate");
    serial[0] &= 0x7f;
    std::unique_ptr<BIGNUM, Freer<BN_free>> number(BN_bin2bn(serial, sizeof serial, nullptr));
    BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(x509));
    X509_set_version(x509, X509_VERSION_3);
    set_time(X509_getm_notBefore(x509), wish.now_ns - kEarlierNs);
    set_time(X509_getm_notAfter(x509), wish.now_ns + wish.days * kDayNs);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(wish.common_name.c_str()), -1,
                               -1, 0);
    X509_set_issuer_name(x509, X509_get_subject_name(signer));
    X509_set_pubkey(x509, made.key.get());
    bool good =
        add_extension(x509, signer, NID_basic_constraints,
                      wish.is_ca ? "critical,CA:TRUE,pathlen:0" : "critical,CA:FALSE") &&
        add_extension(x509, signer, NID_key_usage,
                      wish.is_ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature") &&
        add_extension(x509, signer, NID_subject_key_identifier, "hash");
    if (!wish.is_ca) {
        good = good && add_extension(x509, signer, NID_authority_key_identifier, "keyid") &&
               add_extension(x509, signer, NID_ext_key_usage, "serverAuth") &&
               add_extension(x509, signer, NID_subject_alt_name, wish.names);
    }
    EVP_PKEY* const key = issuer == nullptr ? made.key.get() : issuer->key.get();
    if (!good || X509_sign(x509, key, EVP_sha256()) == 0) return openssl_error("certificate");
    return made;
}

Result<std::string> read_or_nothing(const std::string& path) {
    Result<std::string> text = host::read_file(path, kFileBytesMax);
    if (!text.ok() && text.error().code() == ErrorCode::not_found) return std::string();
    return text;
}

// The key first: a certificate without its key is made again, a key without one too.
Result<void> write_pair(const Pair& pair, const std::string& path, const std::string& further) {
    TRY(host::replace_file(path + ".key", to_pem(pair.key.get())));
    return host::replace_file(path + ".pem", to_pem(pair.certificate.get()) + further);
}

Result<Pair> ensure_ca(const CertificateOptions& options) {
    const std::string path = options.directory + "/ca";
    TRY_ASSIGN(const std::string pem, read_or_nothing(path + ".pem"));
    TRY_ASSIGN(const std::string key, read_or_nothing(path + ".key"));
    if (pem.empty()) {  // never was one, or it died before it was there
        TRY_ASSIGN(Pair made, make({fmt::format("Stoa instance {}", options.instance),
                                    options.now_ns, kCaDays, true, ""},
                                   nullptr));
        TRY(write_pair(made, path, ""));
        return made;
    }
    Pair pair = parse(pem, key);
    const bool is_over = pair.certificate != nullptr &&
                         ends_ns(pair.certificate.get(), options.now_ns) <= options.now_ns;
    if (pair.certificate == nullptr || is_over) {
        return Error(ErrorCode::corrupt,
                     fmt::format("{0}.pem, {0}.key: the instance's CA {1}: put them back from a "
                                 "copy, or remove both, and every client must trust a new one",
                                 path, is_over ? "has expired" : "cannot be read"));
    }
    return pair;
}

bool is_usable(const Pair& leaf, const Pair& ca, const CertificateOptions& options) {
    if (leaf.certificate == nullptr || options.make_anew) return false;
    X509* const x509 = leaf.certificate.get();
    const int64_t left_ns = ends_ns(x509, options.now_ns) - options.now_ns;
    if (left_ns <= (kLeafDays - kRenewDays) * kDayNs || left_ns > (kLeafDays + 1) * kDayNs) {
        return false;  // due, or from a time when the clock was wrong
    }
    if (X509_verify(x509, ca.key.get()) != 1) {
        ERR_clear_error();
        return false;
    }
    return std::ranges::all_of(options.names, [&](const std::string& name) {
        return is_address(name) ? X509_check_ip_asc(x509, name.c_str(), 0) == 1
                                : X509_check_host(x509, name.c_str(), 0, 0, nullptr) == 1;
    });
}

}  // namespace

Result<Certificates> ensure_certificates(const CertificateOptions& options) {
    TRY(host::make_directories(options.directory, 0700));
    TRY_ASSIGN(const std::string names, alternative_names(options.names));
    TRY_ASSIGN(const Pair ca, ensure_ca(options));
    const std::string path = options.directory + "/leaf";
    TRY_ASSIGN(const std::string pem, read_or_nothing(path + ".pem"));
    TRY_ASSIGN(const std::string key, read_or_nothing(path + ".key"));
    Pair leaf = parse(pem, key);
    Certificates all;
    all.ca_pem = to_pem(ca.certificate.get());
    if (!is_usable(leaf, ca, options)) {
        const std::string name = options.names.empty() ? "stoa" : options.names.front();
        TRY_ASSIGN(leaf, make({name, options.now_ns, kLeafDays, false, names}, &ca));
        TRY(write_pair(leaf, path, all.ca_pem));
        all.is_new = true;
    }
    all.chain_pem = to_pem(leaf.certificate.get()) + all.ca_pem;
    all.key_pem = to_pem(leaf.key.get());
    all.fingerprint = fingerprint_of(to_der(ca.certificate.get()));
    all.leaf_ends_ns = ends_ns(leaf.certificate.get(), options.now_ns);
    all.renew_ns = all.leaf_ends_ns - (kLeafDays - kRenewDays) * kDayNs;
    return all;
}

}  // namespace stoa::access
