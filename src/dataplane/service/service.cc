#include "dataplane/service/service.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <utility>

#include "dataplane/io/small_file.h"

namespace stoa::service {

namespace {

constexpr uint32_t kLockWaitMs = 5000;
constexpr const char* kBootIdFile = "/proc/sys/kernel/random/boot_id";
constexpr size_t kBootIdBytesMax = 128;

// The first of the usual places that is on tmpfs: its content must not survive the host.
Result<std::string> choose_runtime(const std::string& wanted, const std::string& instance) {
    if (!wanted.empty()) {
        TRY(io::make_directories(wanted));
        TRY(io::check_private_directory(wanted));
        // It is remembered, and the next start may be somewhere else.
        if (io::is_on_tmpfs(wanted)) return std::filesystem::absolute(wanted).string();
        return Error(ErrorCode::invalid_argument,
                     fmt::format("runtime directory {}: is not on a tmpfs; what lies there would "
                                 "survive a power loss, and must not",
                                 wanted));
    }
    const char* user = std::getenv("XDG_RUNTIME_DIR");
    for (const std::string& base :
         {::getuid() == 0 ? std::string("/run/stoa") : fmt::format("{}/stoa", user ? user : ""),
          fmt::format("/dev/shm/stoa-{}", ::getuid())}) {
        const std::string parent = base.substr(0, base.rfind('/'));
        if (parent.empty() || !io::is_on_tmpfs(parent)) continue;
        const std::string path = fmt::format("{}/{}", base, instance);
        // In one of others nothing is made.
        TRY(io::make_directories(base));
        TRY(io::check_private_directory(base));
        TRY(io::make_directories(path));
        TRY(io::check_private_directory(path));
        return path;
    }
    return Error(ErrorCode::unsupported,
                 "runtime directory: neither /run, XDG_RUNTIME_DIR nor /dev/shm is a tmpfs; name "
                 "one with --runtime");
}

}  // namespace

Result<std::unique_ptr<Service>> Service::create(io::Reactor& reactor, ServiceOptions options) {
    const std::string directory = options.root + "/blockd";
    TRY(io::make_directories(directory));
    TRY_ASSIGN(io::FileDescriptor lock, io::lock_file(directory + "/lock", kLockWaitMs));
    TRY_ASSIGN(auto state, StateFile::open(reactor, directory + "/state.json"));
    TRY_ASSIGN(std::string runtime, choose_runtime(options.runtime, state->state.instance));
    TRY_ASSIGN(const std::string boot_id, io::read_small_file(kBootIdFile, kBootIdBytesMax));
    options.pools.boot_id = boot_id.substr(0, boot_id.find('\n'));
    return std::unique_ptr<Service>(new Service(reactor, std::move(options), std::move(lock),
                                                std::move(state), std::move(runtime)));
}

Service::Service(io::Reactor& reactor, ServiceOptions options, io::FileDescriptor lock,
                 std::unique_ptr<StateFile> state, std::string runtime)
    : reactor_(reactor), options_(std::move(options)), lock_(std::move(lock)),
      state_(std::move(state)), control_path_(options_.root + "/blockd/control.socket"),
      started_ns_(reactor.wall_ns()), events_(reactor),
      origins_(reactor, *state_, events_,
               [this](const Uuid& origin) { return users_of_origin(origin); }),
      pools_(reactor, *state_, events_, options_.pools, std::move(runtime),
             [this](const Uuid& origin) { return origins_.find(origin); }),
      background_(reactor), attachments_(reactor, *state_, events_, pools_) {
    add_pool_methods();
    add_volume_methods();
    add_snapshot_methods();
    add_daemon_methods();
}

Service::~Service() = default;

void Service::start() {
    origins_.start();
    attachments_.start();
    pools_.start([this](const Uuid& pool) { attachments_.pool_opened(pool); });
}

io::Task<Result<void>> Service::stop() {
    pools_.stop_trying();
    // Reads of a client may wait for an origin that is away.
    co_await attachments_.stop(origins_.stop());
    // Work ends as its pool closes.
    io::TaskGroup ending(reactor_);
    ending.spawn(background_.stop());
    Result<void> closed = co_await pools_.stop();
    co_await ending.join();
    co_return closed;
}

const Method* Service::find(std::string_view method) const {
    const auto found = methods_.find(method);
    return found == methods_.end() ? nullptr : &found->second;
}

Result<PoolUse> Service::open_pool(std::string_view name) {
    TRY_ASSIGN(const Uuid uuid, pools_.find(name));
    return pools_.use(uuid);
}

std::vector<std::string> Service::users_of_origin(const Uuid& origin) const {
    std::vector<std::string> users;
    for (const Uuid& uuid : pools_.list()) {
        const auto pool = pools_.get(uuid);
        if (!pool.ok()) continue;
        const std::string of = " of pool " + pools_.name(uuid);
        for (const pool::VolumeInfo& volume : (*pool)->volumes()) {
            if (volume.origin == origin && !volume.hydrated) {
                users.push_back("volume " + volume.name + of);
            }
        }
        for (const pool::SnapshotInfo& snapshot : (*pool)->snapshots(std::nullopt)) {
            if (snapshot.origin == origin && !snapshot.hydrated) {
                users.push_back("snapshot " + snapshot.name + of);
            }
        }
    }
    return users;
}

}  // namespace stoa::service
