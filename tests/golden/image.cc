#include "tests/golden/image.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string_view>

namespace stoa::golden {

namespace {

constexpr std::string_view kMagic = "STOAGLD1";
constexpr uint64_t kDeviceBytesMax = uint64_t{1} << 30;
constexpr size_t kGapMin = 16;  // shorter ones do not end a run
constexpr size_t kRunHeaderBytes = 12;

template <class T>
void append_le(std::vector<std::byte>& to, T value) {
    to.resize(to.size() + sizeof value);
    store_le<T>(to.data() + to.size() - sizeof value, value);
}

size_t run_end(ConstBytes device, size_t begin) {
    size_t end = begin;
    for (size_t at = begin; at < device.size() && at - end < kGapMin; ++at) {
        if (device[at] != std::byte{0}) end = at + 1;
    }
    return end;
}

}  // namespace

std::vector<std::byte> pack_image(ConstBytes device) {
    std::vector<std::byte> file(kMagic.size());
    std::memcpy(file.data(), kMagic.data(), kMagic.size());
    append_le<uint64_t>(file, device.size());
    for (size_t at = 0; at < device.size(); ++at) {
        if (device[at] == std::byte{0}) continue;
        const size_t end = run_end(device, at);
        append_le<uint64_t>(file, at);
        append_le<uint32_t>(file, static_cast<uint32_t>(end - at));
        std::ranges::copy(device.subspan(at, end - at), std::back_inserter(file));
        at = end;
    }
    return file;
}

Result<std::vector<std::byte>> unpack_image(ConstBytes file) {
    const Error broken(ErrorCode::corrupt, "not a golden image, or cut short");
    if (file.size() < 16 || std::memcmp(file.data(), kMagic.data(), kMagic.size()) != 0) {
        return broken;
    }
    const auto size = load_le<uint64_t>(file.data() + 8);
    if (size > kDeviceBytesMax) return broken;
    std::vector<std::byte> device(size);
    for (size_t at = 16; at < file.size();) {
        if (file.size() - at < kRunHeaderBytes) return broken;
        const auto offset = load_le<uint64_t>(file.data() + at);
        const auto length = load_le<uint32_t>(file.data() + at + 8);
        at += kRunHeaderBytes;
        if (length > file.size() - at || offset > size || length > size - offset) return broken;
        std::memcpy(device.data() + offset, file.data() + at, length);
        at += length;
    }
    return device;
}

Result<std::vector<std::byte>> read_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) return Error(ErrorCode::io, path + " cannot be opened");
    const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    std::vector<std::byte> bytes(text.size());
    std::memcpy(bytes.data(), text.data(), text.size());
    return bytes;
}

Result<void> write_file(const std::string& path, ConstBytes bytes) {
    std::ofstream out(path, std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()),
              static_cast<std::streamsize>(bytes.size()));
    if (!out.flush()) return Error(ErrorCode::io, path + " cannot be written");
    return {};
}

}  // namespace stoa::golden
