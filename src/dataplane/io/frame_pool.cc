#include "dataplane/io/frame_pool.h"

#include <array>
#include <cstdlib>

#include "base/check.h"

namespace stoa::io {

// Sanitizer builds use malloc so that a use after the end of a frame is seen.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define STOA_PLAIN_FRAMES 1
#endif
#endif

#ifndef STOA_PLAIN_FRAMES
namespace {

constexpr size_t kClassBytes = 128;
constexpr size_t kClasses = 32;  // frames up to 4 KiB are pooled
constexpr size_t kKeepPerClass = 4096;

struct FreeFrame {
    FreeFrame* next;
};

struct FramePool {
    std::array<FreeFrame*, kClasses> free{};
    std::array<size_t, kClasses> count{};

    FramePool() = default;
    FramePool(const FramePool&) = delete;
    FramePool& operator=(const FramePool&) = delete;
    ~FramePool() {
        for (FreeFrame* list : free) {
            while (list != nullptr) {
                FreeFrame* next = list->next;
                std::free(list);
                list = next;
            }
        }
    }
};

FramePool& pool() {
    thread_local FramePool instance;
    return instance;
}

size_t class_of(size_t size_bytes) { return (size_bytes + kClassBytes - 1) / kClassBytes; }

}  // namespace
#endif

void* allocate_frame(size_t size_bytes) {
#ifndef STOA_PLAIN_FRAMES
    const size_t index = class_of(size_bytes);
    if (index < kClasses) {
        FramePool& frames = pool();
        if (FreeFrame* frame = frames.free[index]; frame != nullptr) {
            frames.free[index] = frame->next;
            --frames.count[index];
            return frame;
        }
        size_bytes = index * kClassBytes;
    }
#endif
    void* frame = std::malloc(size_bytes);
    CHECK(frame != nullptr);
    return frame;
}

void release_frame(void* frame, size_t size_bytes) {
#ifndef STOA_PLAIN_FRAMES
    const size_t index = class_of(size_bytes);
    if (index < kClasses) {
        FramePool& frames = pool();
        if (frames.count[index] < kKeepPerClass) {
            auto* entry = static_cast<FreeFrame*>(frame);
            entry->next = frames.free[index];
            frames.free[index] = entry;
            ++frames.count[index];
            return;
        }
    }
#endif
    static_cast<void>(size_bytes);
    std::free(frame);
}

}  // namespace stoa::io
