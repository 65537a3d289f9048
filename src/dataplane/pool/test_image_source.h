// A simulated disk's image for fsck; for tests.
#pragma once

#include <string>
#include <utility>

#include "dataplane/io/sim/image.h"
#include "dataplane/pool/fsck/fsck.h"

namespace stoa::pool {

// The image outlives it.
class ImageSource final : public fsck::Source {
public:
    explicit ImageSource(const io::sim::Image& image, std::string name = "disk")
        : image_(image), name_(std::move(name)) {}
    [[nodiscard]] uint64_t size_bytes() const override { return image_.size_bytes(); }
    bool read(uint64_t offset_bytes, MutableBytes into) override {
        image_.read(offset_bytes, into);
        return true;
    }
    [[nodiscard]] const std::string& name() const override { return name_; }

private:
    const io::sim::Image& image_;
    std::string name_;
};

}  // namespace stoa::pool
