// stoa-pool create: makes a new, empty pool, and with --size its files too.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "apps/pool/commands.h"
#include "apps/pool/engine.h"
#include "apps/pool/size.h"
#include "base/output.h"
#include "dataplane/io/device_paths.h"

namespace stoa::apps::pool {

namespace {

// Files made by this command; removed again unless it succeeds.
class NewFiles {
public:
    NewFiles() = default;
    NewFiles(const NewFiles&) = delete;
    NewFiles& operator=(const NewFiles&) = delete;
    ~NewFiles() {
        for (const std::string& path : paths_) unlink(path.c_str());
    }

    Result<void> make(const std::string& path, uint64_t size_bytes) {
        const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0 && errno == EEXIST) {
            return Error(ErrorCode::already_exists,
                         fmt::format("{}: exists; leave out --size to use it as it is", path));
        }
        if (fd < 0) return system_error(path, "make");
        paths_.push_back(path);
        const int failed = ftruncate(fd, static_cast<off_t>(size_bytes));
        const int number = errno;
        ::close(fd);
        errno = number;
        if (failed != 0) return system_error(path, fmt::format("grow to {} bytes", size_bytes));
        return {};
    }
    void keep() { paths_.clear(); }

private:
    static Error system_error(const std::string& path, const std::string& action) {
        const int number = errno;
        return Error(ErrorCode::io,
                     fmt::format("{}: cannot {}: {}", path, action, strerror(number)), number);
    }
    std::vector<std::string> paths_;
};

Result<void> make_files(const CreateCommand& command, NewFiles& files) {
    TRY_ASSIGN(const uint64_t size_bytes, parse_size(command.size));
    if (size_bytes == 0 || size_bytes % 4096 != 0 || size_bytes > INT64_MAX) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("size {} is not a multiple of 4096 bytes", command.size));
    }
    TRY(io::check_distinct(command.devices));
    for (const std::string& path : command.devices) TRY(files.make(path, size_bytes));
    return {};
}

Result<void> create(const CreateCommand& command) {
    NewFiles files;
    if (!command.size.empty()) TRY(make_files(command, files));
    {
        TRY_ASSIGN(auto engine, Engine::open(command.devices, false));
        stoa::pool::CreateOptions options;
        options.name = command.name;
        options.force = command.force;
        options.foreign = &engine->foreign();
        TRY(engine->run(
            stoa::pool::Pool::create(engine->executor(), engine->devices(), std::move(options))));
    }
    files.keep();
    return {};
}

}  // namespace

int run_create(const CreateCommand& command) {
    const auto result = create(command);
    if (!result) return fail(result.error());
    stoa::print("pool {} made on {}\n", command.name, fmt::join(command.devices, ", "));
    return kOk;
}

}  // namespace stoa::apps::pool
