#include "tests/kill/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "dataplane/io/device_file.h"
#include "dataplane/io/file_descriptor.h"
#include "tests/kill/events.h"

namespace stoa::killtest {

namespace {

constexpr uint64_t kDeviceBytes = uint64_t{96} << 20;
constexpr size_t kRingBytes = size_t{1} << 20;

class FileSource final : public fsck::Source {
public:
    FileSource(std::string path, int fd) : path_(std::move(path)), file_(fd) {
        const off_t end = lseek(fd, 0, SEEK_END);
        size_bytes_ = end < 0 ? 0 : static_cast<uint64_t>(end);
    }
    [[nodiscard]] bool is_open() const { return file_.is_open(); }
    [[nodiscard]] uint64_t size_bytes() const override { return size_bytes_; }
    bool read(uint64_t offset_bytes, MutableBytes into) override {
        const ssize_t got =
            pread(file_.get(), into.data(), into.size(), static_cast<off_t>(offset_bytes));
        return got == static_cast<ssize_t>(into.size());
    }
    [[nodiscard]] const std::string& name() const override { return path_; }

private:
    std::string path_;
    io::FileDescriptor file_;
    uint64_t size_bytes_ = 0;
};

std::vector<io::Device*> pointers(const OpenPool& open) {
    std::vector<io::Device*> devices;
    devices.reserve(open.devices.size());
    for (const auto& device : open.devices) devices.push_back(device.get());
    return devices;
}

Result<void> open_devices(OpenPool& open, const Paths& paths, bool create) {
    TRY_ASSIGN(open.reactor, io::Reactor::create());
    for (const std::string& path : paths.devices) {
        io::DeviceFileOptions options;
        options.create = create;
        options.size_bytes = create ? kDeviceBytes : 0;
        TRY_ASSIGN(auto device, io::open_device(*open.reactor, path, options));
        open.devices.push_back(std::move(device));
    }
    return {};
}

io::Task<Result<void>> fill_pool(pool::Pool& pool) {
    for (uint64_t v = 0; v < kVolumes; ++v) {
        pool::VolumeSpec spec;
        spec.name = "v" + std::to_string(v);
        spec.uuid = volume_uuid(v);
        spec.size_bytes = kVolumeBytes;
        auto made = co_await pool.create_volume(std::move(spec));
        if (!made.ok()) co_return made.take_error();
    }
    co_return co_await pool.close();
}

}  // namespace

Result<void> create_files(const Paths& paths) {
    {
        OpenPool open;
        TRY(open_devices(open, paths, true));
        pool::CreateOptions options;
        options.name = "killed";
        options.region_blocks = 64;
        options.journal_blocks = 64;  // checkpoints come often
        TRY(open.reactor->run(pool::Pool::create(*open.reactor, pointers(open), options)));
    }
    TRY_ASSIGN(auto open, open_pool(paths));
    return open->reactor->run(fill_pool(*open->pool));
}

Result<std::unique_ptr<OpenPool>> open_pool(const Paths& paths) {
    auto open = std::make_unique<OpenPool>();
    TRY(open_devices(*open, paths, false));
    TRY_ASSIGN(open->ring, io::open_shared_memory(paths.ring, kRingBytes));
    pool::OpenOptions options;
    options.cache_bytes = uint64_t{1} << 20;
    options.bounce_bytes = uint64_t{4} << 20;
    options.acknowledged = open->ring.get();
    options.events = [events = &open->events](const std::string& text) { *events += text + "\n"; };
    TRY_ASSIGN(open->pool, open->reactor->run(pool::Pool::open(*open->reactor, pointers(*open),
                                                               std::move(options))));
    return open;
}

Result<fsck::Report> check_files(const Paths& paths) {
    std::vector<std::unique_ptr<FileSource>> files;
    std::vector<fsck::Source*> sources;
    for (const std::string& path : paths.devices) {
        files.push_back(
            std::make_unique<FileSource>(path, ::open(path.c_str(), O_RDONLY | O_CLOEXEC)));
        if (!files.back()->is_open()) {
            return Error(ErrorCode::io, path + " cannot be opened", errno);
        }
        sources.push_back(files.back().get());
    }
    fsck::Options options;
    options.verify_data = true;
    return fsck::check(sources, options);
}

}  // namespace stoa::killtest
