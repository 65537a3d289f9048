// What programs print: nothing throws, and at the end it is known whether all of it was written.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

namespace stoa {

// As it is. A failure is remembered by the stream.
void write_text(std::FILE* stream, std::string_view text);

template <class... Args>
void print(fmt::format_string<Args...> text, Args&&... args) {
    write_text(stdout, fmt::format(text, std::forward<Args>(args)...));
}

template <class... Args>
void print_error(fmt::format_string<Args...> text, Args&&... args) {
    write_text(stderr, fmt::format(text, std::forward<Args>(args)...));
}

// Writes what is buffered. False if anything printed on standard output until now, by whatever
// means, was not taken; then it says so on standard error, in the name of `program`.
[[nodiscard]] bool finish_output(std::string_view program);

// "1 block", "2 blocks"; `many` where the plural is another one.
[[nodiscard]] std::string count_of(uint64_t count, std::string_view one,
                                   std::string_view many = {});

}  // namespace stoa
