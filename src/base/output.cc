#include "base/output.h"

namespace stoa {

void write_text(std::FILE* stream, std::string_view text) {
    static_cast<void>(std::fwrite(text.data(), 1, text.size(), stream));
}

bool finish_output(std::string_view program) {
    if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return true;
    print_error("{}: the output cannot be written\n", program);
    return false;
}

std::string count_of(uint64_t count, std::string_view one, std::string_view many) {
    if (count == 1 || many.empty())
        return fmt::format("{} {}{}", count, one, count == 1 ? "" : "s");
    return fmt::format("{} {}", count, many);
}

}  // namespace stoa
