// Image: the content of a simulated disk, a persistent radix tree of pages.
//
// Copying an image costs one pointer; copies share pages and nodes until one of them is written.
// Pages that were never written read as zero and take no memory. Tests: disk_test.cc.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace stoa::io::sim {

inline constexpr uint64_t kSectorBytes = 512;
inline constexpr uint64_t kPageBytes = 4096;

// Never changed once it is shared.
struct Page {
    Page() {}  // NOLINT: not zeroed, its maker fills it
    [[nodiscard]] uint64_t hash() const;

    std::array<std::byte, kPageBytes> bytes;
    mutable std::atomic<uint64_t> cached_hash{0};  // 0: not computed yet
};
using PagePtr = std::shared_ptr<const Page>;  // shared between images and unflushed writes

// An image is used by one thread at a time; copies of it may live on different threads.
class Image {
public:
    Image() : Image(0) {}
    // All zero. `size_bytes` is a multiple of 512.
    explicit Image(uint64_t size_bytes);

    [[nodiscard]] uint64_t size_bytes() const { return size_bytes_; }
    // Grows by zeros or cuts off the end.
    void resize(uint64_t size_bytes);

    // Any offset and length within the image.
    void read(uint64_t offset_bytes, MutableBytes into) const;
    void write(uint64_t offset_bytes, ConstBytes from);
    void zero(uint64_t offset_bytes, uint64_t length_bytes);
    void flip_bit(uint64_t offset_bytes, unsigned bit);

    // The page at `index` (bytes index * 4096 …); null: reads as zero.
    [[nodiscard]] const Page* page(uint64_t index) const;
    void set_page(uint64_t index, PagePtr page);

    // Equal content and size give equal hashes, whatever way led there. Costs what has changed
    // since the last call on this image or one that shares its pages.
    [[nodiscard]] uint64_t hash() const;
    bool operator==(const Image& other) const;
    // Indexes of the pages whose content differs, ascending, at most `count_max`.
    [[nodiscard]] std::vector<uint64_t> differing_pages(const Image& other,
                                                        size_t count_max = 1024) const;
    // Visits the pages that were written, by ascending index.
    void for_each_page(const std::function<void(uint64_t index, const Page&)>& visit) const;

    // From and to a sparse file of the same size. Errors: io, invalid_argument (the size is no
    // multiple of 512).
    static Result<Image> load(const std::string& path);
    [[nodiscard]] Result<void> save(const std::string& path) const;

private:
    struct Node;
    using Slot = std::shared_ptr<const void>;  // a Page at level 0, else a Node

    static Node& own(Slot& slot);
    static void clear(Slot& slot, unsigned level, uint64_t first, uint64_t last);
    static uint64_t hash_of(const Slot& slot, unsigned level);
    static void visit_pages(const Slot& slot, unsigned level, uint64_t base,
                            const std::function<void(uint64_t, const Page&)>& visit);
    static void compare(const Slot& a, const Slot& b, unsigned level, uint64_t base,
                        size_t count_max, std::vector<uint64_t>& differing);

    uint64_t size_bytes_ = 0;
    unsigned height_ = 1;  // levels of nodes; follows from the size
    Slot root_;            // null: all zero
};

}  // namespace stoa::io::sim
