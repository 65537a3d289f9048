// Any bytes from the control socket: cut into lines, read as messages, and as the answer to each
// question. However they are divided, the lines are the same.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "controlplane/storage/line_reader.h"
#include "controlplane/storage/tags.h"
#include "rpc/blockd.h"
#include "rpc/json_rpc.h"

namespace stoa::storage {
namespace {

template <class... T>
void read_each(const Json& json) {
    const auto read = [&json]<class One>(One value) {
        if (from_json(json, value).ok()) static_cast<void>(to_json(value));
    };
    (read(T{}), ...);
}

void read_line(std::string_view line) {
    const auto message = rpc::parse_message(line);
    if (!message.ok()) return;
    read_each<rpc::Event>(message->params);
    if (!message->result.ok()) return;
    read_each<rpc::DaemonInfo, rpc::Text, rpc::PoolStatus, rpc::PoolList, rpc::VolumeStatus,
              rpc::VolumeList, rpc::SnapshotStatus, rpc::SnapshotList, rpc::SnapshotCreated,
              rpc::AttachmentStatus, rpc::AttachmentList, rpc::TaskStatus, rpc::TaskRef,
              rpc::Nothing, rpc::ScrubResult>(*message->result);
}

std::vector<std::string> cut(std::string_view bytes, size_t piece, size_t line_bytes_max) {
    std::vector<std::string> lines;
    LineReader reader(line_bytes_max);
    for (size_t at = 0; at < bytes.size(); at += piece) {
        const auto added = reader.add(bytes.substr(at, piece), [&](std::string_view line) {
            CHECK(line.size() <= line_bytes_max);
            lines.emplace_back(line);
            return Result<void>();
        });
        if (!added.ok()) break;
    }
    return lines;
}

}  // namespace
}  // namespace stoa::storage

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace stoa::storage;
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    constexpr size_t kLineBytesMax = 512;
    const auto lines = cut(bytes, size + 1, kLineBytesMax);
    CHECK(cut(bytes, 1, kLineBytesMax) == lines);
    CHECK(cut(bytes, 7, kLineBytesMax) == lines);
    for (const std::string& line : lines) read_line(line);
    CHECK(tags_of(labels_of(bytes)).size() <= 192);
    return 0;
}
