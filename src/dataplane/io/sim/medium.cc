#include "dataplane/io/sim/medium.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace stoa::io::sim {

namespace {

struct Part {
    size_t page;          // index in Write::pages
    uint64_t page_index;  // on the disk
    size_t within_bytes;  // of the page
    size_t length_bytes;
    size_t done_bytes;  // of the write
};

// Calls visit(Part) for each page that the bytes from .. from + length of a write touch.
template <class Visit>
void for_each_part(uint64_t offset_bytes, uint64_t from, uint64_t length_bytes, Visit visit) {
    const uint64_t first_page = offset_bytes / kPageBytes;
    for (uint64_t done = from; done < from + length_bytes;) {
        const uint64_t at = offset_bytes + done;
        const uint64_t within = at % kPageBytes;
        const uint64_t part = std::min(from + length_bytes - done, kPageBytes - within);
        visit(Part{at / kPageBytes - first_page, at / kPageBytes, within, part, done});
        done += part;
    }
}

}  // namespace

Write Write::of(uint64_t offset_bytes, ConstBytes content) {
    Write write;
    write.offset_bytes = offset_bytes;
    write.length_bytes = content.size();
    write.pages.reserve(content.size() / kPageBytes + 2);
    for_each_part(offset_bytes, 0, content.size(), [&](const Part& part) {
        auto page = std::make_shared<Page>();
        if (part.length_bytes < kPageBytes) page->bytes.fill(std::byte{0});
        std::memcpy(page->bytes.data() + part.within_bytes, content.data() + part.done_bytes,
                    part.length_bytes);
        write.pages.push_back(std::move(page));
    });
    return write;
}

bool Write::equals(ConstBytes content) const {
    if (content.size() != length_bytes) return false;
    bool equal = true;
    for_each_part(offset_bytes, 0, length_bytes, [&](const Part& part) {
        equal = equal && std::memcmp(pages[part.page]->bytes.data() + part.within_bytes,
                                     content.data() + part.done_bytes, part.length_bytes) == 0;
    });
    return equal;
}

void Write::apply_part(Image& image, uint64_t first_sector, uint64_t end_sector) const {
    const uint64_t from = first_sector * kSectorBytes;
    const uint64_t length = (end_sector - first_sector) * kSectorBytes;
    if (pages.empty()) {
        image.zero(offset_bytes + from, length);
        return;
    }
    for_each_part(offset_bytes, from, length, [&](const Part& part) {
        const PagePtr& page = pages[part.page];
        if (part.length_bytes == kPageBytes) {
            image.set_page(part.page_index, page);
        } else {
            image.write(part.page_index * kPageBytes + part.within_bytes,
                        ConstBytes(page->bytes).subspan(part.within_bytes, part.length_bytes));
        }
    });
}

void Write::apply_torn(Image& image, Random& random) const {
    const uint64_t sectors = length_bytes / kSectorBytes;
    switch (random.below(pages.empty() ? 2 : 3)) {  // a discard may be huge: in one piece
        case 0: apply_part(image, 0, random.below(sectors + 1)); break;
        case 1: apply_part(image, random.below(sectors + 1), sectors); break;
        default:
            for (uint64_t sector = 0; sector < sectors; ++sector) {
                if (random.chance(0.5)) apply_part(image, sector, sector + 1);
            }
    }
}

const Write& Medium::complete(Write write) {
    write.number = ++completed_;
    write.apply_to(visible_);
    return unflushed_.emplace_back(std::move(write));
}

void Medium::complete_torn(const Write& write, Random& random) {
    // Which sectors were done must be known to the later crash too: they become writes themselves.
    const Image before = visible_;
    write.apply_torn(visible_, random);
    AlignedBuffer now(kSectorBytes);
    AlignedBuffer old(kSectorBytes);
    for (uint64_t done = 0; done < write.length_bytes; done += kSectorBytes) {
        const uint64_t at = write.offset_bytes + done;
        visible_.read(at, now.bytes());
        before.read(at, old.bytes());
        if (std::memcmp(now.data(), old.data(), kSectorBytes) == 0) continue;
        Write sector = Write::of(at, now.bytes());
        sector.number = ++completed_;
        unflushed_.push_back(std::move(sector));
    }
}

void Medium::make_durable(uint64_t number) {
    while (!unflushed_.empty() && unflushed_.front().number <= number) {
        unflushed_.front().apply_to(durable_);
        unflushed_.pop_front();
    }
}

void Medium::fail_flush(uint64_t number, Random& random) {
    while (!unflushed_.empty() && unflushed_.front().number <= number) {
        if (random.chance(0.5)) unflushed_.front().apply_to(durable_);
        unflushed_.pop_front();
    }
}

void Medium::flip_bit(uint64_t offset_bytes, unsigned bit) {
    durable_.flip_bit(offset_bytes, bit);
    visible_.flip_bit(offset_bytes, bit);
}

void Medium::damage(uint64_t offset_bytes, ConstBytes content) {
    durable_.write(offset_bytes, content);
    visible_.write(offset_bytes, content);
}

void Medium::resize(uint64_t size_bytes) {
    std::erase_if(unflushed_, [&](const Write& write) {
        return write.offset_bytes + write.length_bytes > size_bytes;
    });
    durable_.resize(size_bytes);
    visible_.resize(size_bytes);
}

Image Medium::crash(const CrashPolicy& policy, std::span<const Write* const> in_flight) const {
    std::vector<const Write*> kept;
    if (policy.keep != CrashKeep::none) {
        kept.reserve(unflushed_.size() + in_flight.size());
        for (const Write& write : unflushed_) kept.push_back(&write);
        kept.insert(kept.end(), in_flight.begin(), in_flight.end());
    }
    if (policy.keep == CrashKeep::all_but_last && !kept.empty()) kept.pop_back();
    Random random(policy.seed);
    if (policy.keep == CrashKeep::random) {
        const double share = static_cast<double>(random.between(1, 7)) / 8;
        std::erase_if(kept, [&](const Write*) { return !random.chance(share); });
    }
    if (policy.reorder) random.shuffle(kept);
    Image image = durable_;
    for (const Write* write : kept) {
        if (policy.tear && random.chance(0.5)) write->apply_torn(image, random);
        else write->apply_to(image);
    }
    return image;
}

Medium Medium::process_crash(uint64_t seed, std::span<const Write* const> in_flight) const {
    Random random(seed);
    Medium medium = *this;
    for (const Write* write : in_flight) {
        if (random.chance(0.5)) medium.complete(*write);
    }
    return medium;
}

}  // namespace stoa::io::sim
