// One file of the journal and the index of its lines, which is made by reading it once.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "controlplane/journal/append_file.h"
#include "controlplane/journal/entry.h"

namespace stoa::journal {

struct IndexItem {
    uint64_t sequence = 0;
    uint32_t offset = 0;  // of the line
    uint32_t bytes = 0;   // without its line feed
    uint32_t subject = 0;  // hash_of()
    Kind kind = Kind::event;
};

[[nodiscard]] uint32_t hash_of(std::string_view subject);

struct Index {
    std::vector<IndexItem> items;  // sequences grow
    int64_t newest_ns = 0;         // of the last item
    uint64_t good_bytes = 0;       // up to the end of the last good line
    uint64_t damaged = 0;          // lines before that which are none
    uint64_t damaged_tail = 0;     // whole lines behind it
};
[[nodiscard]] Index make_index(std::string_view content);

// Calls block. One thread.
class Segment {
public:
    // `covers_from`: no entry of its stream that is in a later file has a sequence below it.
    Segment(std::string path, uint64_t covers_from, uint64_t size_bytes)
        : path_(std::move(path)), covers_from_(covers_from), size_bytes_(size_bytes) {}

    // Opens it for appending, made if it does not exist; reads it and cuts off a damaged tail.
    // How many bytes were cut off, and lines.
    struct Cut {
        uint64_t bytes = 0;
        uint64_t lines = 0;
    };
    Result<Cut> open_for_append();
    [[nodiscard]] bool is_open() const { return file_ != nullptr; }
    // Of entries of which each has a greater sequence than those before. Durable when it returns.
    Result<void> append(const std::vector<const Entry*>& entries);
    // No more appends; its index stays.
    void seal() { file_.reset(); }

    // Reads the file unless its index is there already. `is_new`: it was read now.
    struct Loaded {
        const Index* index = nullptr;  // until unload()
        bool is_new = false;
    };
    Result<Loaded> load();
    void unload();
    [[nodiscard]] bool is_loaded() const { return index_ != nullptr; }

    // The text of a line of the index.
    Result<std::string> read(const IndexItem& item) const;

    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] uint64_t covers_from() const { return covers_from_; }
    [[nodiscard]] uint64_t size_bytes() const { return size_bytes_; }

private:
    std::string path_;
    uint64_t covers_from_;
    uint64_t size_bytes_;
    std::unique_ptr<AppendFile> file_;  // only of the newest of its stream
    std::unique_ptr<Index> index_;
};

}  // namespace stoa::journal
