#include "apps/stoa/progress.h"

#include <fmt/format.h>

#include <algorithm>

#include "apps/stoa/terminal.h"
#include "apps/stoa/text.h"
#include "apps/stoa/units.h"
#include "base/output.h"

namespace stoa::cli {

namespace {
constexpr double kNsPerSecond = 1e9;
constexpr double kNewShare = 0.3;  // of the newest sample in the rate
// What counts so high counts bytes; steps and files are fewer.
constexpr uint64_t kBytesFrom = 64 * 1024;
}  // namespace

void Pace::add(uint64_t done, int64_t time_ns) {
    if (last_ns_ == 0 || done < last_done_) {
        last_done_ = done;
        last_ns_ = time_ns;
        per_second_ = 0;
        return;
    }
    const double seconds = static_cast<double>(time_ns - last_ns_) / kNsPerSecond;
    if (seconds < 0.1) return;
    const double now = static_cast<double>(done - last_done_) / seconds;
    per_second_ = per_second_ == 0 ? now : per_second_ + kNewShare * (now - per_second_);
    last_done_ = done;
    last_ns_ = time_ns;
}

uint64_t Pace::left(uint64_t done, uint64_t total) const {
    if (per_second_ <= 0 || done >= total) return 0;
    const double seconds = static_cast<double>(total - done) / per_second_;
    return seconds > 1e7 ? 0 : std::max<uint64_t>(1, static_cast<uint64_t>(seconds + 0.5));
}

std::string progress_text(std::string_view text, uint64_t done, uint64_t total, const Pace& pace) {
    if (total == 0) return std::string(text);
    const uint64_t shown = std::min(done, total);
    const auto percent =
        static_cast<unsigned>(static_cast<double>(shown) * 100 / static_cast<double>(total));
    std::string line = fmt::format("{}  {:>3}%", text, percent);
    if (total < kBytesFrom) {
        line += fmt::format("  {} of {}", shown, total);
    } else {
        line += fmt::format("  {} of {}", format_size(shown), format_size(total));
        if (pace.per_second() >= 1) {
            line += fmt::format("  {}/s", format_size(static_cast<uint64_t>(pace.per_second())));
        }
    }
    const uint64_t left = pace.left(shown, total);
    if (left > 0) line += fmt::format("  {} left", format_duration(left));
    return line;
}

ProgressLine::ProgressLine() : is_terminal_(errors_are_terminal()) {}

void ProgressLine::show(std::string_view text) {
    if (!is_terminal_) return;
    print_error("\r\x1B[K{}", cut(text, std::max<size_t>(errors_width(), 2) - 1));
    is_there_ = true;
}

void ProgressLine::show(std::string_view text, uint64_t done, uint64_t total) {
    if (!is_terminal_) return;
    if (total != last_total_) pace_ = {};
    last_total_ = total;
    if (total > 0) pace_.add(done, now_ns());
    show(progress_text(text, done, total, pace_));
}

void ProgressLine::clear() {
    if (is_there_) print_error("\r\x1B[K");
    is_there_ = false;
}

}  // namespace stoa::cli
