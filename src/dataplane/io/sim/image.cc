#include "dataplane/io/sim/image.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "dataplane/io/sim/random.h"

namespace stoa::io::sim {

namespace {

constexpr unsigned kFanoutBits = 4;
constexpr uint64_t kFanout = uint64_t{1} << kFanoutBits;
constexpr uint64_t kUnknownHash = ~uint64_t{0};  // of a node
constexpr uint64_t kZeroPageHash = 1;

uint64_t page_count(uint64_t size_bytes) { return (size_bytes + kPageBytes - 1) / kPageBytes; }

unsigned height_for(uint64_t size_bytes) {
    unsigned height = 1;
    while ((page_count(size_bytes) >> (kFanoutBits * height)) > 0) ++height;
    return height;
}

size_t slot_index(uint64_t page_index, unsigned level) {
    return static_cast<size_t>((page_index >> (kFanoutBits * level)) & (kFanout - 1));
}

Error system_error(const std::string& path, const char* what) {
    const int code = errno;
    return {ErrorCode::io, "image " + path + ": " + what + ": " + std::strerror(code), code};
}

class FileDescriptor {
public:
    explicit FileDescriptor(int fd) : fd_(fd) {}
    FileDescriptor(const FileDescriptor&) = delete;
    FileDescriptor& operator=(const FileDescriptor&) = delete;
    ~FileDescriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    [[nodiscard]] int get() const { return fd_; }

private:
    int fd_;
};

}  // namespace

uint64_t Page::hash() const {
    uint64_t known = cached_hash.load(std::memory_order_relaxed);
    if (known != 0) return known;
    if (is_zero(bytes)) {
        known = kZeroPageHash;
    } else {
        // Four lanes, so that the multiplications overlap; rotation lets high bits reach low ones.
        std::array<uint64_t, 4> lanes{0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0,
                                      0x082efa98ec4e6c89};
        for (size_t at = 0; at < kPageBytes; at += 32) {
            for (size_t lane = 0; lane < 4; ++lane) {
                const uint64_t word = load_le<uint64_t>(bytes.data() + at + lane * 8);
                lanes[lane] = std::rotl(lanes[lane] ^ word, 29) * 0x9e3779b97f4a7c15;
            }
        }
        known = 0;
        for (const uint64_t lane : lanes) known = mix(known + lane);
        if (known <= kZeroPageHash) known += 2;
    }
    cached_hash.store(known, std::memory_order_relaxed);
    return known;
}

struct Image::Node {
    std::array<Slot, kFanout> slots;
    mutable std::atomic<uint64_t> hash{0};  // of what is below; 0: reads as zero

    Node() = default;
    Node(const Node& other) : slots(other.slots), hash(kUnknownHash) {}
    Node& operator=(const Node&) = delete;
};

Image::Image(uint64_t size_bytes) : size_bytes_(size_bytes), height_(height_for(size_bytes)) {
    CHECK(size_bytes % kSectorBytes == 0);
}

// The node in `slot`, made or copied so that only this image has it, with its hash forgotten.
Image::Node& Image::own(Slot& slot) {
    if (slot == nullptr) {
        slot = std::make_shared<Node>();
    } else if (slot.use_count() > 1) {
        slot = std::make_shared<Node>(*static_cast<const Node*>(slot.get()));
    }
    Node& node = *const_cast<Node*>(static_cast<const Node*>(slot.get()));
    node.hash.store(kUnknownHash, std::memory_order_relaxed);
    return node;
}

const Page* Image::page(uint64_t index) const {
    const void* at = root_.get();
    for (unsigned level = height_; level-- > 0 && at != nullptr;) {
        at = static_cast<const Node*>(at)->slots[slot_index(index, level)].get();
    }
    return static_cast<const Page*>(at);
}

void Image::set_page(uint64_t index, PagePtr page) {
    CHECK(index < page_count(size_bytes_));
    Slot* slot = &root_;
    for (unsigned level = height_; level-- > 0;) slot = &own(*slot).slots[slot_index(index, level)];
    *slot = std::move(page);
}

void Image::read(uint64_t offset_bytes, MutableBytes into) const {
    CHECK(into.size() <= size_bytes_ && offset_bytes <= size_bytes_ - into.size());
    while (!into.empty()) {
        const uint64_t within = offset_bytes % kPageBytes;
        const size_t part = std::min<size_t>(into.size(), kPageBytes - within);
        if (const Page* found = page(offset_bytes / kPageBytes); found != nullptr) {
            std::memcpy(into.data(), found->bytes.data() + within, part);
        } else {
            std::memset(into.data(), 0, part);
        }
        into = into.subspan(part);
        offset_bytes += part;
    }
}

void Image::write(uint64_t offset_bytes, ConstBytes from) {
    CHECK(from.size() <= size_bytes_ && offset_bytes <= size_bytes_ - from.size());
    while (!from.empty()) {
        const uint64_t index = offset_bytes / kPageBytes;
        const uint64_t within = offset_bytes % kPageBytes;
        const size_t part = std::min<size_t>(from.size(), kPageBytes - within);
        auto changed = std::make_shared<Page>();
        if (part < kPageBytes) {
            if (const Page* old = page(index); old != nullptr) changed->bytes = old->bytes;
            else changed->bytes.fill(std::byte{0});
        }
        std::memcpy(changed->bytes.data() + within, from.data(), part);
        set_page(index, std::move(changed));
        from = from.subspan(part);
        offset_bytes += part;
    }
}

void Image::flip_bit(uint64_t offset_bytes, unsigned bit) {
    CHECK(bit < 8);
    std::byte value{};
    read(offset_bytes, {&value, 1});
    value ^= std::byte{1} << bit;
    write(offset_bytes, {&value, 1});
}

void Image::zero(uint64_t offset_bytes, uint64_t length_bytes) {
    CHECK(length_bytes <= size_bytes_ && offset_bytes <= size_bytes_ - length_bytes);
    static constexpr std::array<std::byte, kPageBytes> kZeros{};
    const uint64_t end = offset_bytes + length_bytes;
    const uint64_t first = std::min((offset_bytes + kPageBytes - 1) / kPageBytes * kPageBytes, end);
    // The last page of a size that is no multiple of a page goes whole.
    const uint64_t whole_end = end == size_bytes_ ? page_count(end) : end / kPageBytes;
    const auto clear_part = [&](uint64_t from, uint64_t to) {
        if (from < to && page(from / kPageBytes) != nullptr)
            write(from, {kZeros.data(), to - from});
    };
    clear_part(offset_bytes, first);
    if (first / kPageBytes < whole_end && first % kPageBytes == 0) {
        clear(root_, height_, first / kPageBytes, whole_end);
        if (end > whole_end * kPageBytes) clear_part(whole_end * kPageBytes, end);
    } else {
        clear_part(first, end);
    }
}

// Drops the pages first .. last - 1, counted from the start of what `slot` covers.
void Image::clear(Slot& slot, unsigned level, uint64_t first, uint64_t last) {
    if (slot == nullptr || first >= last) return;
    const uint64_t covered = uint64_t{1} << (kFanoutBits * level);
    if (first == 0 && last >= covered) {
        slot = nullptr;
        return;
    }
    Node& node = own(slot);
    const uint64_t child = covered / kFanout;
    for (uint64_t i = first / child; i < kFanout && i * child < last; ++i) {
        const uint64_t base = i * child;
        clear(node.slots[i], level - 1, std::max(first, base) - base, std::min(last - base, child));
    }
}

void Image::resize(uint64_t size_bytes) {
    CHECK(size_bytes % kSectorBytes == 0);
    if (size_bytes < size_bytes_) zero(size_bytes, size_bytes_ - size_bytes);
    const unsigned height = height_for(size_bytes);
    for (; height_ < height; ++height_) {
        if (root_ == nullptr) continue;
        Slot below = std::move(root_);
        root_ = nullptr;
        own(root_).slots[0] = std::move(below);
    }
    for (; height_ > height; --height_) {
        if (root_ == nullptr) continue;
        Slot below = static_cast<const Node*>(root_.get())->slots[0];
        root_ = std::move(below);
    }
    size_bytes_ = size_bytes;
}

uint64_t Image::hash_of(const Slot& slot, unsigned level) {
    if (slot == nullptr) return 0;
    if (level == 0) {
        const uint64_t content = static_cast<const Page*>(slot.get())->hash();
        return content == kZeroPageHash ? 0 : content;
    }
    const Node& node = *static_cast<const Node*>(slot.get());
    uint64_t sum = node.hash.load(std::memory_order_relaxed);
    if (sum != kUnknownHash) return sum;
    sum = 0;
    for (uint64_t i = 0; i < kFanout; ++i) {
        const uint64_t below = hash_of(node.slots[i], level - 1);
        if (below != 0) sum += mix(below + mix(i + 1));
    }
    if (sum == kUnknownHash) sum = 1;
    node.hash.store(sum, std::memory_order_relaxed);
    return sum;
}

uint64_t Image::hash() const { return mix(hash_of(root_, height_) + mix(size_bytes_ + 1)); }

void Image::compare(const Slot& a, const Slot& b, unsigned level, uint64_t base, size_t count_max,
                    std::vector<uint64_t>& differing) {
    if (a == b || differing.size() >= count_max) return;
    if (level == 0) {
        static constexpr std::array<std::byte, kPageBytes> kZeros{};
        const auto* left = static_cast<const Page*>(a.get());
        const auto* right = static_cast<const Page*>(b.get());
        const auto& left_bytes = left != nullptr ? left->bytes : kZeros;
        const auto& right_bytes = right != nullptr ? right->bytes : kZeros;
        if (std::memcmp(left_bytes.data(), right_bytes.data(), kPageBytes) != 0) {
            differing.push_back(base);
        }
        return;
    }
    const Slot none;
    for (uint64_t i = 0; i < kFanout; ++i) {
        const Slot& left = a != nullptr ? static_cast<const Node*>(a.get())->slots[i] : none;
        const Slot& right = b != nullptr ? static_cast<const Node*>(b.get())->slots[i] : none;
        compare(left, right, level - 1, base + (i << (kFanoutBits * (level - 1))), count_max,
                differing);
    }
}

std::vector<uint64_t> Image::differing_pages(const Image& other, size_t count_max) const {
    Image left = *this;
    Image right = other;
    const uint64_t size_bytes = std::max(left.size_bytes_, right.size_bytes_);
    left.resize(size_bytes);
    right.resize(size_bytes);
    std::vector<uint64_t> differing;
    compare(left.root_, right.root_, left.height_, 0, count_max, differing);
    return differing;
}

bool Image::operator==(const Image& other) const {
    return size_bytes_ == other.size_bytes_ && differing_pages(other, 1).empty();
}

void Image::visit_pages(const Slot& slot, unsigned level, uint64_t base,
                        const std::function<void(uint64_t, const Page&)>& visit) {
    if (slot == nullptr) return;
    if (level == 0) {
        visit(base, *static_cast<const Page*>(slot.get()));
        return;
    }
    for (uint64_t i = 0; i < kFanout; ++i) {
        visit_pages(static_cast<const Node*>(slot.get())->slots[i], level - 1,
                    base + (i << (kFanoutBits * (level - 1))), visit);
    }
}

void Image::for_each_page(const std::function<void(uint64_t, const Page&)>& visit) const {
    visit_pages(root_, height_, 0, visit);
}

Result<Image> Image::load(const std::string& path) {
    const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat status{};
    if (file.get() < 0 || ::fstat(file.get(), &status) != 0) return system_error(path, "open");
    const auto size_bytes = static_cast<uint64_t>(status.st_size);
    if (size_bytes % kSectorBytes != 0) {
        return Error(ErrorCode::invalid_argument, "image " + path + ": its size, " +
                                                      std::to_string(size_bytes) +
                                                      " bytes, is no multiple of 512");
    }
    Image image(size_bytes);
    std::array<std::byte, kPageBytes> buffer;
    for (uint64_t at = 0; at < size_bytes; at += kPageBytes) {
        const size_t part = std::min<uint64_t>(kPageBytes, size_bytes - at);
        const ssize_t got = ::pread(file.get(), buffer.data(), part, static_cast<off_t>(at));
        if (got < 0) return system_error(path, "read");
        if (static_cast<size_t>(got) != part) {
            return Error(ErrorCode::io, "image " + path + ": ends before its size");
        }
        if (!is_zero({buffer.data(), part})) image.write(at, {buffer.data(), part});
    }
    return image;
}

Result<void> Image::save(const std::string& path) const {
    const FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (file.get() < 0 || ::ftruncate(file.get(), static_cast<off_t>(size_bytes_)) != 0) {
        return system_error(path, "create");
    }
    bool failed = false;
    for_each_page([&](uint64_t index, const Page& page) {
        const uint64_t at = index * kPageBytes;
        const size_t part = std::min<uint64_t>(kPageBytes, size_bytes_ - at);
        if (failed || is_zero({page.bytes.data(), part})) return;
        const ssize_t put = ::pwrite(file.get(), page.bytes.data(), part, static_cast<off_t>(at));
        failed = put < 0 || static_cast<size_t>(put) != part;
    });
    if (failed) return system_error(path, "write");
    return {};
}

}  // namespace stoa::io::sim
