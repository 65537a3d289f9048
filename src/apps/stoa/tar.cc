#include "apps/stoa/tar.h"

#include <fmt/format.h>

#include <cstring>
#include <utility>

#include "base/check.h"

namespace stoa::cli {

namespace {
constexpr size_t kBlockBytes = 512;
constexpr size_t kNameBytes = 100;
constexpr size_t kSumAt = 148;
}  // namespace

void Tar::add(std::string_view name, std::string_view content, int64_t time_seconds) {
    CHECK(name.size() <= kNameBytes);
    std::string header(kBlockBytes, '\0');
    const auto put = [&header](size_t at, std::string_view text) {
        std::memcpy(header.data() + at, text.data(), text.size());
    };
    put(0, name);
    put(100, "0000600");
    put(108, "0000000");
    put(116, "0000000");
    put(124, fmt::format("{:011o}", content.size()));
    put(136, fmt::format("{:011o}", time_seconds));
    put(kSumAt, "        ");
    put(156, "0");
    put(257, std::string_view("ustar\00000", 8));
    unsigned sum = 0;
    for (const char c : header) sum += static_cast<unsigned char>(c);
    put(kSumAt, fmt::format("{:06o}", sum));
    header[kSumAt + 6] = '\0';
    bytes_ += header;
    bytes_ += content;
    bytes_.append((kBlockBytes - content.size() % kBlockBytes) % kBlockBytes, '\0');
}

std::string Tar::finish() {
    bytes_.append(2 * kBlockBytes, '\0');
    return std::exchange(bytes_, {});
}

}  // namespace stoa::cli
