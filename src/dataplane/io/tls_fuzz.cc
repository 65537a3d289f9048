// Any bytes at the door of a TLS server: an error, never a crash or a hang.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "dataplane/io/memory_stream.h"
#include "dataplane/io/sim/simulator.h"
#include "dataplane/io/test_certificates.h"
#include "dataplane/io/test_directory.h"
#include "dataplane/io/tls.h"

using namespace stoa;

namespace {

std::unique_ptr<io::TlsContext> make_server() {
    const io::TestDirectory directory;
    io::TestCertificateOptions options;
    options.now_ns = io::sim::Simulator::kWallBaseNs;
    const io::TestCertificate certificate(nullptr, options);
    certificate.write_certificate(directory.file("it.pem"));
    certificate.write_key(directory.file("it.key"));
    const io::TlsServerOptions files{directory.file("it.pem"), directory.file("it.key"),
                                     directory.file("it.pem")};
    return *io::TlsContext::server(files);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const std::unique_ptr<io::TlsContext> server = make_server();
    io::sim::Simulator simulator(1);
    auto [near, far] = io::MemoryStream::create(simulator, {.buffered_bytes = size + (1 << 20)});
    const ConstBytes bytes(reinterpret_cast<const std::byte*>(data), size);
    if (!simulator.run(io::write_all(*near, bytes)).ok()) std::abort();
    near->shut_down();
    if (simulator.run(server->accept(simulator, std::move(far))).ok()) std::abort();
    return 0;
}
