#include "controlplane/qemu/line_buffer.h"

#include <utility>

#include <fmt/format.h>

namespace stoa::qemu {

namespace {
constexpr char kAnew = '\xff';
}  // namespace

void LineBuffer::add_to_line(std::string_view bytes) {
    if (rules_.starts_anew_at_ff) {
        const size_t anew = bytes.rfind(kAnew);
        if (anew != std::string_view::npos) {
            line_.clear();
            is_long_ = false;
            bytes.remove_prefix(anew + 1);
        }
    }
    if (is_long_ || line_.size() + bytes.size() > rules_.line_bytes_max) {
        is_long_ = true;
        line_.clear();
        return;
    }
    line_ += bytes;
}

void LineBuffer::add(std::string_view bytes) {
    while (!bytes.empty()) {
        const size_t end = bytes.find('\n');
        add_to_line(bytes.substr(0, end));
        if (end == std::string_view::npos) return;
        bytes.remove_prefix(end + 1);
        if (is_long_) {
            ended_.emplace_back();
        } else {
            ended_.emplace_back(std::move(line_));
        }
        line_.clear();
        is_long_ = false;
    }
}

std::optional<Result<std::string>> LineBuffer::next() {
    if (ended_.empty()) return std::nullopt;
    std::optional<std::string> line = std::move(ended_.front());
    ended_.pop_front();
    if (line) return Result<std::string>(*std::move(line));
    return Result<std::string>(
        Error(ErrorCode::out_of_range,
              fmt::format("a line of more than {} bytes", rules_.line_bytes_max)));
}

}  // namespace stoa::qemu
