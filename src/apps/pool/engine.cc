#include "apps/pool/engine.h"

#include <utility>

#include "dataplane/io/blkid/signatures.h"
#include "dataplane/io/device_file.h"
#include "dataplane/io/device_paths.h"
#include "dataplane/io/reactor.h"

namespace stoa::apps::pool {

struct Engine::Parts {
    std::unique_ptr<io::Reactor> reactor;
    std::unique_ptr<io::blkid::Signatures> signatures;
    std::vector<std::unique_ptr<io::Device>> devices;
};

Engine::Engine(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Engine::~Engine() {
    parts_->devices.clear();  // before the reactor they use
}

Result<std::unique_ptr<Engine>> Engine::open(const std::vector<std::string>& paths,
                                             bool read_only) {
    TRY(io::check_distinct(paths));
    auto parts = std::make_unique<Parts>();
    TRY_ASSIGN(parts->reactor, io::Reactor::create());
    parts->signatures = std::make_unique<io::blkid::Signatures>(*parts->reactor);
    auto engine = std::unique_ptr<Engine>(new Engine(std::move(parts)));
    for (const std::string& path : paths) {
        io::DeviceFileOptions options;
        options.read_only = read_only;
        TRY_ASSIGN(auto device, io::open_device(*engine->parts_->reactor, path, options));
        engine->parts_->devices.push_back(std::move(device));
    }
    return engine;
}

io::Executor& Engine::executor() { return *parts_->reactor; }

io::ForeignData& Engine::foreign() { return *parts_->signatures; }

std::vector<io::Device*> Engine::devices() const {
    std::vector<io::Device*> devices;
    devices.reserve(parts_->devices.size());
    for (const auto& device : parts_->devices) devices.push_back(device.get());
    return devices;
}

Result<void> Engine::run(io::Task<Result<void>> task) {
    return parts_->reactor->run(std::move(task));
}

}  // namespace stoa::apps::pool
