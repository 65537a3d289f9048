// Medium: what a simulated disk holds at one moment, and what of it a loss of power would leave.
//
// Three layers: what is durable, the completed writes that no completed flush covers yet, and (kept
// by the disk) the writes in flight. A crash keeps the first and any subset of the others.
// A medium outlives the disk it was in: the next disk is made from it. Tests: disk_test.cc.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "dataplane/io/sim/image.h"
#include "dataplane/io/sim/random.h"

namespace stoa::io::sim {

// The effect of one write or discard: whole sectors, whose content lies in pages that images share.
struct Write {
    uint64_t offset_bytes = 0;
    uint64_t length_bytes = 0;
    uint64_t number = 0;  // place in the order of completions, from 1; 0: in flight
    std::vector<PagePtr> pages;  // those it touches, only its own sectors are filled; empty: zeros

    static Write of(uint64_t offset_bytes, ConstBytes content);
    // The same content at another place with the same offset within its page.
    void move_to(uint64_t new_offset_bytes) { offset_bytes = new_offset_bytes; }
    void apply_to(Image& image) const { apply_part(image, 0, length_bytes / kSectorBytes); }
    // Applies some of its sectors: the first ones, the last ones, or any.
    void apply_torn(Image& image, Random& random) const;
    [[nodiscard]] bool equals(ConstBytes content) const;

private:
    void apply_part(Image& image, uint64_t first_sector, uint64_t end_sector) const;
};

// Which of the writes that are not durable a loss of power keeps. Completed writes count in the
// order of completion, then those in flight in the order of submission.
enum class CrashKeep : uint8_t { none, all, all_but_last, random };

struct CrashPolicy {
    CrashKeep keep = CrashKeep::none;
    uint64_t seed = 0;  // of everything random below
    bool tear = false;  // some kept writes only in part, at 512 bytes
    bool reorder = false;  // overlapping writes land in any order
};

class Medium {
public:
    // Everything in `image` is durable.
    Medium(Image image)  // NOLINT(google-explicit-constructor): an image is the simplest medium
        : durable_(image), visible_(std::move(image)) {}

    // What a read sees, and what is left after the death of a process.
    [[nodiscard]] const Image& visible() const { return visible_; }
    // What is left in any case.
    [[nodiscard]] const Image& durable() const { return durable_; }
    [[nodiscard]] size_t unflushed_count() const { return unflushed_.size(); }

    // The number of the last completed write: what a flush submitted now covers.
    [[nodiscard]] uint64_t completed() const { return completed_; }
    // A number for a write that was acknowledged and not done.
    uint64_t skip_number() { return ++completed_; }
    // A write ended: it is visible now, and durable after a flush that covers its number.
    const Write& complete(Write write);
    // Some sectors of a failed write.
    void complete_torn(const Write& write, Random& random);
    // A flush that covers the writes up to `number` ended well.
    void make_durable(uint64_t number);
    // Such a flush failed: some of these writes became durable, the others never will, although
    // they stay visible until the power goes and a later flush answers well.
    void fail_flush(uint64_t number, Random& random);

    // Damage at rest, in the durable layer too.
    void flip_bit(uint64_t offset_bytes, unsigned bit);
    void damage(uint64_t offset_bytes, ConstBytes content);
    void resize(uint64_t size_bytes);

    [[nodiscard]] Image crash(const CrashPolicy& policy,
                              std::span<const Write* const> in_flight) const;
    // The death of a process: completed writes stay, unflushed as they are; of those in flight a
    // random subset, whole.
    [[nodiscard]] Medium process_crash(uint64_t seed,
                                       std::span<const Write* const> in_flight) const;

private:
    Image durable_;
    Image visible_;
    std::deque<Write> unflushed_;  // by ascending number
    uint64_t completed_ = 0;
};

}  // namespace stoa::io::sim
