// One line on standard error that tells how far something is. Only on a terminal.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace stoa::cli {

// The rate over the last seconds, and what it says about the rest.
class Pace {
public:
    // `done` at a time; times never go back.
    void add(uint64_t done, int64_t time_ns);
    [[nodiscard]] double per_second() const { return per_second_; }
    // Seconds; 0: not known.
    [[nodiscard]] uint64_t left(uint64_t done, uint64_t total) const;

private:
    uint64_t last_done_ = 0;
    int64_t last_ns_ = 0;
    double per_second_ = 0;
};

// "importing debian  45%  230 MiB of 512 MiB  85.1 MiB/s  3s left"; `total` 0: how far is not
// known.
[[nodiscard]] std::string progress_text(std::string_view text, uint64_t done, uint64_t total,
                                        const Pace& pace);

class ProgressLine {
public:
    ProgressLine();
    ProgressLine(const ProgressLine&) = delete;
    ProgressLine& operator=(const ProgressLine&) = delete;
    ~ProgressLine() { clear(); }

    [[nodiscard]] bool is_shown() const { return is_terminal_; }
    void show(std::string_view text);
    void show(std::string_view text, uint64_t done, uint64_t total);
    void clear();

private:
    bool is_terminal_;
    bool is_there_ = false;
    Pace pace_;
    uint64_t last_total_ = 0;
};

}  // namespace stoa::cli
