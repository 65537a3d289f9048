// Two ends of a stream in memory, on any executor: for tests and fuzz targets.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/io/stream.h"
#include "dataplane/io/sync.h"

namespace stoa::io {

class MemoryStream final : public Stream {
public:
    struct Options {
        size_t buffered_bytes = 64 * 1024;  // in each direction, until a write waits
        size_t piece_bytes = 0;             // at most so many a read; 0: all that is there
    };
    using Pair = std::pair<std::unique_ptr<MemoryStream>, std::unique_ptr<MemoryStream>>;

    // What one end writes, the other reads. An end that is destroyed has hung up.
    static Pair create(Executor& executor, Options options);
    MemoryStream(const MemoryStream&) = delete;
    MemoryStream& operator=(const MemoryStream&) = delete;
    ~MemoryStream() override;

    Task<Result<size_t>> read_some(MutableBytes into) override;
    Task<Result<void>> write(std::span<ConstBytes> parts) override;
    void shut_down() override;
    Task<void> hung_up() override;
    [[nodiscard]] const std::string& peer() const override { return peer_; }

private:
    struct Pipe {
        explicit Pipe(Executor& executor) : changed(executor) {}
        std::vector<std::byte> bytes;
        bool ended = false;
        Condition changed;
    };
    MemoryStream(std::shared_ptr<Pipe> in, std::shared_ptr<Pipe> out, Options options)
        : in_(std::move(in)), out_(std::move(out)), options_(options) {}

    const std::shared_ptr<Pipe> in_;
    const std::shared_ptr<Pipe> out_;
    const Options options_;
    const std::string peer_ = "the other end";
    bool shut_down_ = false;
};

}  // namespace stoa::io
