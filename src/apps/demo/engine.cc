#include "apps/demo/engine.h"

#include "dataplane/io/device_file.h"

namespace stoa::apps::demo {

namespace {

constexpr size_t kRingBytes = size_t{8} << 20;

}  // namespace

io::Task<Result<void>> Engine::open(EngineOptions options) {
    CO_TRY_ASSIGN(ring_, io::open_shared_memory(options.ring, kRingBytes));
    std::vector<io::Device*> devices;
    devices_.clear();
    for (const std::string& file : options.files) {
        CO_TRY_ASSIGN(auto device, io::open_device(reactor_, file));
        devices.push_back(device.get());
        devices_.push_back(std::move(device));
    }
    stoa::pool::OpenOptions with;
    with.acknowledged = ring_.get();
    with.events = std::move(options.events);
    CO_TRY_ASSIGN(pool_, co_await stoa::pool::Pool::open(reactor_, devices, std::move(with)));
    co_return Result<void>{};
}

io::Task<Result<void>> Engine::close() {
    Result<void> result;
    if (pool_ != nullptr) result = co_await pool_->close();
    pool_.reset();
    devices_.clear();
    ring_.reset();
    co_return result;
}

}  // namespace stoa::apps::demo
