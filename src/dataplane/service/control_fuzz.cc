// Any bytes of a client on the control socket, into a whole service with real pools: no crash, no
// hang, no leak, and afterwards it stops and starts again with what it remembers.
//
// The first byte says how the bytes arrive and what there is already; all others are what the
// client sends. Whatever path or address a request names is moved into a directory of the test, or
// to the loopback.
#include <sys/resource.h>

#include <csignal>
#include <cstdlib>
#include <map>

#include "dataplane/io/memory_stream.h"
#include "dataplane/io/test_directory.h"
#include "dataplane/service/control_session.h"
#include "dataplane/service/service.h"

namespace stoa::service {
namespace {

constexpr rlim_t kFileBytesMax = rlim_t{64} << 20;
constexpr std::string_view kEnd = R"({"jsonrpc":"2.0","id":"the end","method":"rpc.methods"})";
constexpr std::string_view kPrepared[] = {
    R"({"jsonrpc":"2.0","id":1,"method":"pool.create","params":{"name":"tank",)"
    R"("devices":[{"path":"tank","create_bytes":16777216}]}})",
    R"({"jsonrpc":"2.0","id":1,"method":"volume.create","params":{"pool":"tank","name":"v",)"
    R"("size_bytes":1048576}})",
    R"({"jsonrpc":"2.0","id":1,"method":"snapshot.create","params":{"pool":"tank",)"
    R"("snapshots":[{"volume":"v","name":"s"}]}})",
};
constexpr std::string_view kAttached =
    R"({"jsonrpc":"2.0","id":1,"method":"attachment.create","params":{"pool":"tank",)"
    R"("object":"v","listen":"unix:v"}})";

// What a request may name outside the daemon, moved to where it harms nobody.
class Confinement {
public:
    explicit Confinement(const io::TestDirectory& directory) : directory_(directory) {}

    void apply(Json& value, std::string_view key = {}) const {
        if (JsonObject* object = value.if_object()) {
            for (auto& member : *object) apply(member.value(), member.key());
        } else if (auto* array = value.if_array()) {
            for (auto& element : *array) apply(element, key);
        } else if (value.is_string()) {
            value = moved(std::string(value.get_string()), key);
        }
    }

private:
    [[nodiscard]] std::string moved(const std::string& text, std::string_view key) const {
        if (key == "listen") {
            if (text.starts_with("unix:")) return "unix:" + inside(text.substr(5));
            return io::Address::parse(text).ok() ? "tcp:127.0.0.1:0" : text;
        }
        const bool is_path = key == "path" || key == "devices" || key.ends_with("_file");
        return is_path ? inside(text) : text;
    }
    [[nodiscard]] std::string inside(std::string name) const {
        std::ranges::replace(name, '/', '_');
        return directory_.file(name);
    }

    const io::TestDirectory& directory_;
};

class Bench {
public:
    explicit Bench(unsigned how) : how_(how) {}

    void run(std::string_view bytes) {
        start();
        reactor_->run(talk(bytes));
        stop();
        if ((how_ & 32) == 0) return;
        start();  // with what it remembers
        stop();
    }

private:
    void start() {
        ServiceOptions options;
        options.root = directory_.file("root");
        options.runtime = directory_.file("runtime");
        options.pools.cache_bytes = 1 << 20;
        options.pools.ring_bytes = 1 << 20;
        options.pools.lock_patience_ns = 0;
        auto created = Service::create(*reactor_, options);
        CHECK(created.ok());
        service_ = *std::move(created);
        service_->start();
    }
    void stop() {
        static_cast<void>(reactor_->run(service_->stop()));
        confined_.clear();
        service_.reset();
    }

    const Method* find(std::string_view name) {
        const Method* inner = service_->find(name);
        if (inner == nullptr) return nullptr;
        Method& method = confined_[std::string(name)];
        method = [this, inner](Json params) {
            confinement_.apply(params);
            return (*inner)(std::move(params));
        };
        return &method;
    }

    io::Task<void> talk(std::string_view bytes) {
        if ((how_ & 4) == 0) {
            for (const std::string_view line : kPrepared) co_await session(line);
            if ((how_ & 64) != 0) co_await session(kAttached);
        }
        if ((how_ & 8) == 0) co_return co_await session(bytes);
        // One after the other.
        while (!bytes.empty()) {
            const std::string_view line = bytes.substr(0, bytes.find('\n'));
            bytes.remove_prefix(std::min(bytes.size(), line.size() + 1));
            co_await session(line);
        }
    }

    io::Task<void> session(std::string_view bytes) {
        io::MemoryStream::Options options;
        options.piece_bytes = (how_ & 3) * 7;
        auto [near, far] = io::MemoryStream::create(*reactor_, options);
        ControlSession session(
            *reactor_, [this](std::string_view name) { return find(name); }, service_->events(),
            *far);
        io::TaskGroup group(*reactor_);
        group.spawn(session.run());
        group.spawn(send(*near, std::string(bytes) + '\n' + std::string(kEnd) + '\n'));
        co_await take_answers(*near);
        near->shut_down();
        co_await group.join();
    }

    static io::Task<void> send(io::Stream& stream, std::string text) {
        static_cast<void>(co_await io::write_all(stream, std::as_bytes(std::span(text))));
    }

    // Until the end was answered; other calls may still run when the client hangs up.
    io::Task<void> take_answers(io::Stream& stream) const {
        std::vector<std::byte> buffer(4096);
        std::string seen;
        while ((how_ & 16) == 0 || seen.empty()) {
            const auto got = co_await stream.read_some(buffer);
            if (!got.ok() || *got == 0) co_return;
            seen.append(reinterpret_cast<const char*>(buffer.data()), *got);
            if (seen.contains(R"("id":"the end")")) co_return;
        }
    }

    const unsigned how_;
    const io::TestDirectory directory_;
    const Confinement confinement_{directory_};
    const std::unique_ptr<io::Reactor> reactor_ = *io::Reactor::create();
    std::unique_ptr<Service> service_;
    std::map<std::string, Method, std::less<>> confined_;
};

bool prepare() {
    ::setenv("TMPDIR", "/dev/shm", 1);  // quick, and a tmpfs
    // No request makes a file larger than that.
    const rlimit limit{kFileBytesMax, kFileBytesMax};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    std::signal(SIGXFSZ, SIG_IGN);
    std::signal(SIGPIPE, SIG_IGN);
    return true;
}

}  // namespace
}  // namespace stoa::service

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const bool prepared = stoa::service::prepare();
    if (size == 0 || !prepared) return 0;
    stoa::service::Bench(data[0]).run({reinterpret_cast<const char*>(data + 1), size - 1});
    return 0;
}
