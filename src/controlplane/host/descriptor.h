// An owned file descriptor, and errors of system calls.
#pragma once

#include <string_view>
#include <utility>

#include "base/result.h"

namespace stoa::host {

class Descriptor {
public:
    Descriptor() = default;
    // Takes what open(2) returned, -1 too.
    explicit Descriptor(int number) : number_(number) {}
    Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        std::swap(number_, other.number_);
        return *this;
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() { close(); }

    [[nodiscard]] int get() const { return number_; }
    [[nodiscard]] bool is_open() const { return number_ >= 0; }
    void close();
    // The caller closes it.
    [[nodiscard]] int release() { return std::exchange(number_, -1); }

private:
    int number_ = -1;
};

// "WHAT: no such file or directory" with the code that fits `number` (an errno): not_found,
// already_exists, denied, no_space, read_only, busy, unsupported, invalid_argument, else io.
[[nodiscard]] Error system_error(std::string_view what, int number);

}  // namespace stoa::host
