#include "dataplane/io/memory_stream.h"

#include <algorithm>

namespace stoa::io {

MemoryStream::Pair MemoryStream::create(Executor& executor, Options options) {
    const auto there = std::make_shared<Pipe>(executor);
    const auto back = std::make_shared<Pipe>(executor);
    return {std::unique_ptr<MemoryStream>(new MemoryStream(there, back, options)),
            std::unique_ptr<MemoryStream>(new MemoryStream(back, there, options))};
}

MemoryStream::~MemoryStream() { shut_down(); }

Task<Result<size_t>> MemoryStream::read_some(MutableBytes into) {
    while (in_->bytes.empty() && !in_->ended) co_await in_->changed.wait();
    if (shut_down_) co_return Error(ErrorCode::cancelled, "the connection is closed");
    size_t got = std::min(into.size(), in_->bytes.size());
    if (options_.piece_bytes > 0) got = std::min(got, options_.piece_bytes);
    std::copy_n(in_->bytes.begin(), got, into.begin());
    in_->bytes.erase(in_->bytes.begin(), in_->bytes.begin() + static_cast<ptrdiff_t>(got));
    in_->changed.notify_all();
    co_return got;
}

Task<Result<void>> MemoryStream::write(std::span<ConstBytes> parts) {
    for (ConstBytes& part : parts) {
        while (!part.empty()) {
            while (out_->bytes.size() >= options_.buffered_bytes && !out_->ended) {
                co_await out_->changed.wait();
            }
            if (shut_down_) co_return Error(ErrorCode::cancelled, "the connection is closed");
            if (out_->ended) co_return Error(ErrorCode::io, "the other end has hung up");
            const size_t piece =
                std::min(part.size(), options_.buffered_bytes - out_->bytes.size());
            out_->bytes.insert(out_->bytes.end(), part.begin(),
                               part.begin() + static_cast<ptrdiff_t>(piece));
            part = part.subspan(piece);
            out_->changed.notify_all();
        }
    }
    co_return Result<void>{};
}

Task<void> MemoryStream::hung_up() {
    while (!in_->ended) co_await in_->changed.wait();
}

void MemoryStream::shut_down() {
    shut_down_ = true;
    for (const auto& pipe : {in_, out_}) {
        pipe->ended = true;
        pipe->changed.notify_all();
    }
}

}  // namespace stoa::io
