// Files of the guest, by its agent: file_* of agent_commands.h.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/base64.h"
#include "controlplane/qemu/agent_commands.h"
#include "controlplane/qemu/agent_message.h"
#include "controlplane/qemu/look.h"
#include "controlplane/qemu/qmp_message.h"

namespace stoa::qemu {

namespace {

constexpr std::chrono::milliseconds kFileLimit{30'000};
constexpr size_t kPathMax = 4096;

Error unexpected(std::string_view command, const Json& answer) {
    return {ErrorCode::io,
            fmt::format("{}: unexpected answer {}", command, cleaned(to_text(answer)))};
}

}  // namespace

Async<int64_t> file_open(Agent& agent, std::string path, FileMode mode) {
    if (path.empty() || path.size() > kPathMax || path.contains('\0')) {
        co_return Error(
            ErrorCode::invalid_argument,
            fmt::format("path \"{}\" in the guest: 1 to {} characters", cleaned(path), kPathMax));
    }
    const std::string_view how = mode == FileMode::read ? "r" : "w";
    CO_TRY_ASSIGN(const Json answer,
                  co_await agent.call("guest-file-open", {{"path", path}, {"mode", how}}));
    const int64_t* handle = answer.if_int64();
    if (handle == nullptr) co_return unexpected("guest-file-open", answer);
    co_return *handle;
}

Async<FileChunk> file_read(Agent& agent, int64_t handle, uint32_t bytes_max) {
    const uint32_t count = std::clamp<uint32_t>(bytes_max, 1, kAgentFileChunkBytes);
    CO_TRY_ASSIGN(
        const Json answer,
        co_await agent.call("guest-file-read", {{"handle", handle}, {"count", count}}, kFileLimit));
    const auto text = text_at(answer, "buf-b64");
    if (!text) co_return unexpected("guest-file-read", answer);
    FileChunk chunk;
    CO_TRY_ASSIGN(chunk.bytes, agent_bytes(*text));
    if (chunk.bytes.size() > count) co_return unexpected("guest-file-read", "too many bytes");
    chunk.is_end = bool_at(answer, "eof").value_or(false) || chunk.bytes.empty();
    co_return chunk;
}

Async<> file_write(Agent& agent, int64_t handle, std::string bytes) {
    if (bytes.size() > kAgentFileChunkBytes) {
        co_return Error(ErrorCode::invalid_argument,
                        fmt::format("guest-file-write: {} bytes; at most {}", bytes.size(),
                                    kAgentFileChunkBytes));
    }
    size_t written = 0;
    while (written < bytes.size()) {
        const std::string text = to_base64(std::string_view(bytes).substr(written));
        CO_TRY_ASSIGN(const Json answer,
                      co_await agent.call("guest-file-write",
                                          {{"handle", handle}, {"buf-b64", text}}, kFileLimit));
        const auto count = unsigned_at(answer, "count");
        const bool is_right = count && *count > 0 && *count <= bytes.size() - written;
        if (!is_right) co_return unexpected("guest-file-write", answer);
        written += *count;
    }
    co_return Result<void>();
}

Async<> file_close(Agent& agent, int64_t handle) {
    const auto answer = co_await agent.call("guest-file-close", {{"handle", handle}}, kFileLimit);
    if (!answer.ok()) co_return answer.error();
    co_return Result<void>();
}

namespace {

Async<std::string> read_all(Agent& agent, int64_t handle, std::string path, size_t bytes_max) {
    std::string bytes;
    for (;;) {
        CO_TRY_ASSIGN(const FileChunk chunk, co_await file_read(agent, handle));
        if (bytes.size() + chunk.bytes.size() > bytes_max) {
            co_return Error(
                ErrorCode::out_of_range,
                fmt::format("{} in the guest is longer than {} bytes", cleaned(path), bytes_max));
        }
        bytes += chunk.bytes;
        if (chunk.is_end) co_return bytes;
    }
}

Async<> write_all(Agent& agent, int64_t handle, std::string bytes) {
    for (size_t at = 0; at < bytes.size(); at += kAgentFileChunkBytes) {
        CO_TRY(co_await file_write(agent, handle, bytes.substr(at, kAgentFileChunkBytes)));
    }
    co_return Result<void>();
}

}  // namespace

Async<std::string> pull(Agent& agent, std::string path, size_t bytes_max) {
    CO_TRY_ASSIGN(const int64_t handle, co_await file_open(agent, path, FileMode::read));
    auto bytes = co_await read_all(agent, handle, path, bytes_max);
    const Result<void> closed = co_await file_close(agent, handle);
    if (bytes.ok() && !closed.ok()) co_return closed.error();
    co_return bytes;
}

Async<> push(Agent& agent, std::string path, std::string bytes) {
    CO_TRY_ASSIGN(const int64_t handle, co_await file_open(agent, path, FileMode::write));
    const Result<void> written = co_await write_all(agent, handle, std::move(bytes));
    const Result<void> closed = co_await file_close(agent, handle);
    co_return written.ok() ? closed : written;
}

}  // namespace stoa::qemu
