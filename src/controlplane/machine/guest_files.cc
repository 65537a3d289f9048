#include "controlplane/machine/guest_files.h"

#include <utility>

#include <fmt/format.h>

#include "controlplane/qemu/agent_commands.h"

namespace stoa::machine {

namespace {

// Each piece is one question of the agent; its answer is base64 within its limit.
constexpr size_t kPieceBytes = size_t{192} << 10;

Async<uint64_t> copy_in(qemu::Agent& agent, int64_t handle, const Pieces& pieces) {
    uint64_t written = 0;
    for (;;) {
        CO_TRY_ASSIGN(std::string piece, co_await pieces(kPieceBytes));
        if (piece.empty()) co_return written;
        written += piece.size();
        CO_TRY(co_await qemu::file_write(agent, handle, std::move(piece)));
    }
}

}  // namespace

Async<uint64_t> push_file(std::shared_ptr<qemu::Agent> agent, std::string path, Pieces pieces) {
    CO_TRY_ASSIGN(const int64_t handle,
                  co_await qemu::file_open(*agent, path, qemu::FileMode::write));
    auto written = co_await copy_in(*agent, handle, pieces);
    const auto closed = co_await qemu::file_close(*agent, handle);
    if (!written.ok()) {
        co_return written.error().with_context(fmt::format("{} is incomplete in the guest", path));
    }
    if (!closed.ok()) co_return closed.error();
    co_return *written;
}

Async<std::unique_ptr<GuestFile>> GuestFile::open(std::shared_ptr<qemu::Agent> agent,
                                                  std::string path) {
    CO_TRY_ASSIGN(const int64_t handle,
                  co_await qemu::file_open(*agent, std::move(path), qemu::FileMode::read));
    co_return std::unique_ptr<GuestFile>(new GuestFile(std::move(agent), handle));
}

Async<std::string> GuestFile::read() {
    if (at_end_) co_return std::string();
    auto chunk = co_await qemu::file_read(*agent_, handle_, kPieceBytes);
    if (!chunk.ok() || chunk->is_end) {
        at_end_ = true;
        static_cast<void>(co_await qemu::file_close(*agent_, handle_));
    }
    if (!chunk.ok()) co_return chunk.take_error();
    co_return std::move(chunk->bytes);
}

}  // namespace stoa::machine
