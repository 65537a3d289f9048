#include "controlplane/journal/segment.h"

#include <span>

#include "base/check.h"
#include "base/crc32c.h"
#include "controlplane/journal/line.h"

namespace stoa::journal {

uint32_t hash_of(std::string_view subject) {
    return crc32c(std::as_bytes(std::span(subject.data(), subject.size())));
}

Index make_index(std::string_view content) {
    Index index;
    uint64_t bad = 0;  // since the last good line
    for (size_t at = 0; at < content.size();) {
        const size_t end = content.find('\n', at);
        if (end == std::string_view::npos) break;
        const std::string_view line = content.substr(at, end - at);
        const auto head = read_head(line);
        const uint64_t last = index.items.empty() ? 0 : index.items.back().sequence;
        const bool is_first = at == 0 && content.starts_with(kFirstLine);
        if (is_first || (head && head->sequence > last)) {
            if (!is_first) {
                index.items.push_back({head->sequence, static_cast<uint32_t>(at),
                                       static_cast<uint32_t>(line.size()), hash_of(head->subject),
                                       head->kind});
                index.newest_ns = head->time_ns;
            }
            index.damaged += bad;
            bad = 0;
            index.good_bytes = end + 1;
        } else {
            ++bad;
        }
        at = end + 1;
    }
    index.damaged_tail = bad;
    return index;
}

Result<Segment::Cut> Segment::open_for_append() {
    TRY_ASSIGN(AppendFile file, AppendFile::open(path_));
    size_bytes_ = file.size_bytes();
    Cut cut;
    if (size_bytes_ == 0) {
        TRY(file.append(kFirstLine));
        size_bytes_ = file.size_bytes();
        index_ = std::make_unique<Index>();
        index_->good_bytes = size_bytes_;
    } else {
        TRY_ASSIGN(const std::string content, file.read(0, size_bytes_));
        index_ = std::make_unique<Index>(make_index(content));
        cut = {size_bytes_ - index_->good_bytes, index_->damaged_tail};
        if (cut.bytes > 0) TRY(file.cut_to(index_->good_bytes));
        index_->damaged_tail = 0;
        size_bytes_ = file.size_bytes();
        // A file of which nothing was left begins anew.
        if (size_bytes_ == 0) {
            TRY(file.append(kFirstLine));
            size_bytes_ = index_->good_bytes = file.size_bytes();
        }
    }
    file_ = std::make_unique<AppendFile>(std::move(file));
    return cut;
}

Result<void> Segment::append(const std::vector<const Entry*>& entries) {
    CHECK(file_ && index_);
    std::string text;
    std::vector<IndexItem> items;
    for (const Entry* entry : entries) {
        const std::string line = to_line(*entry);
        items.push_back({entry->sequence, static_cast<uint32_t>(size_bytes_ + text.size()),
                         static_cast<uint32_t>(line.size() - 1), hash_of(entry->subject),
                         entry->kind});
        text += line;
    }
    TRY(file_->append(text));
    size_bytes_ = file_->size_bytes();
    index_->good_bytes = size_bytes_;
    index_->items.insert(index_->items.end(), items.begin(), items.end());
    if (!entries.empty()) index_->newest_ns = entries.back()->time_ns;
    return {};
}

Result<Segment::Loaded> Segment::load() {
    if (index_) return Loaded{index_.get(), false};
    TRY_ASSIGN(const AppendFile file, AppendFile::open_to_read(path_));
    TRY_ASSIGN(const std::string content, file.read(0, file.size_bytes()));
    index_ = std::make_unique<Index>(make_index(content));
    return Loaded{index_.get(), true};
}

void Segment::unload() {
    if (!file_) index_.reset();
}

Result<std::string> Segment::read(const IndexItem& item) const {
    if (file_) return file_->read(item.offset, item.bytes);
    TRY_ASSIGN(const AppendFile file, AppendFile::open_to_read(path_));
    return file.read(item.offset, item.bytes);
}

}  // namespace stoa::journal
