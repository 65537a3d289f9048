#include "controlplane/journal/files.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "base/output.h"
#include "controlplane/journal/line.h"

namespace stoa::journal {

namespace {

constexpr uint64_t kSegmentBytesMin = uint64_t{64} << 10;
constexpr uint64_t kSegmentBytesMax = uint64_t{4} << 20;
constexpr uint64_t kSegmentsPerStream = 16;
// Indexes that stay in memory, for each stream.
constexpr size_t kLoadedMax = 8;

constexpr std::string_view kSuffix = ".log";

uint64_t segment_bytes(uint64_t bytes_max) {
    return std::clamp(bytes_max / kSegmentsPerStream, kSegmentBytesMin, kSegmentBytesMax);
}

// The number in "WORD-NUMBER.log".
std::optional<uint64_t> number_of(std::string_view name, std::string_view word) {
    if (!name.starts_with(word) || !name.ends_with(kSuffix)) return std::nullopt;
    name.remove_prefix(word.size());
    name.remove_suffix(kSuffix.size());
    if (!name.starts_with('-')) return std::nullopt;
    name.remove_prefix(1);
    uint64_t number = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
    return number;
}

}  // namespace

Files::Files(const Options& options)
    : options_(options), main_{"main", options.bytes_max, options.age_max_ns, {}},
      audit_{"audit", options.audit_bytes_max, options.audit_age_max_ns, {}} {}

Result<std::unique_ptr<Files>> Files::open(const Options& options) {
    std::unique_ptr<Files> files(new Files(options));
    std::error_code error;
    const bool made = std::filesystem::create_directories(options.directory, error);
    if (error) {
        return Error(ErrorCode::io, fmt::format("{}: {}", options.directory, error.message()),
                     error.value());
    }
    if (made) {
        std::filesystem::permissions(options.directory, std::filesystem::perms::owner_all, error);
    }
    TRY(files->find_segments());
    for (Stream* stream : {&files->main_, &files->audit_}) {
        if (!stream->segments.empty()) TRY(files->open_newest(*stream));
    }
    return files;
}

Result<void> Files::find_segments() {
    std::error_code error;
    std::filesystem::directory_iterator at(options_.directory, error);
    for (; !error && at != std::filesystem::directory_iterator(); at.increment(error)) {
        for (Stream* stream : {&main_, &audit_}) {
            const auto number = number_of(at->path().filename().string(), stream->word);
            if (!number) continue;
            const uint64_t bytes = at->file_size(error);
            if (!error) stream->segments.emplace_back(at->path(), *number, bytes);
        }
    }
    if (error) {
        return Error(ErrorCode::io, fmt::format("{}: {}", options_.directory, error.message()),
                     error.value());
    }
    for (Stream* stream : {&main_, &audit_}) {
        std::ranges::sort(stream->segments, {}, &Segment::covers_from);
        for (const Segment& each : stream->segments) next_ = std::max(next_, each.covers_from());
    }
    return {};
}

Result<void> Files::open_newest(Stream& stream) {
    Segment& newest = stream.segments.back();
    TRY_ASSIGN(const Segment::Cut cut, newest.open_for_append());
    TRY_ASSIGN(const Segment::Loaded loaded, newest.load());
    const Index& index = *loaded.index;
    if (index.damaged > 0) note_damage(newest, index.damaged);
    if (cut.bytes > 0) {
        damaged_ += cut.lines;
        notes_.push_back(
            {fmt::format("journal {}: {} bytes of a torn or damaged tail were cut off",
                         newest.path(), cut.bytes),
             JsonObject{
                 {"file", newest.path()}, {"cut_bytes", cut.bytes}, {"entries", cut.lines}}});
    }
    const uint64_t last = index.items.empty() ? 0 : index.items.back().sequence;
    last_ = std::max(last_, last);
    // Lines that were whole once may have been seen: their sequences are not given again.
    next_ = std::max(next_, last + cut.lines + 1);
    return {};
}

void Files::note_damage(const Segment& segment, uint64_t lines) {
    damaged_ += lines;
    notes_.push_back({fmt::format("journal {}: {} damaged, and passed over", segment.path(),
                                  count_of(lines, "entry is", "entries are")),
                      JsonObject{{"file", segment.path()}, {"entries", lines}}});
}

std::string Files::path_of(const Stream& stream, uint64_t covers_from) const {
    return fmt::format("{}/{}-{:020}{}", options_.directory, stream.word, covers_from, kSuffix);
}

// ---- writing

Files::Written Files::write(std::vector<Entry>& batch) {
    Written written;
    std::vector<const Entry*> main;
    std::vector<const Entry*> audit;
    for (Entry& entry : batch) {
        trim(entry);
        entry.sequence = next_++;
        (entry.kind == Kind::audit ? audit : main).push_back(&entry);
    }
    const auto put = [&](Stream& stream, const std::vector<const Entry*>& entries) {
        if (entries.empty()) return;
        const auto done = append(stream, entries);
        if (done.ok()) {
            last_ = std::max(last_, entries.back()->sequence);
        } else {
            written.lost += entries.size();
            written.failure = done.error().message();
        }
    };
    put(audit_, audit);
    put(main_, main);
    return written;
}

Result<void> Files::append(Stream& stream, const std::vector<const Entry*>& entries) {
    const bool is_first = stream.segments.empty();
    if (is_first || !stream.segments.back().is_open() ||
        stream.segments.back().size_bytes() >= segment_bytes(stream.bytes_max)) {
        TRY(begin_segment(stream, is_first ? 1 : entries.front()->sequence));
        expire(stream);
    }
    auto done = stream.segments.back().append(entries);
    // What a file of which an append failed holds is not known for sure.
    if (!done.ok() && done.error().code() != ErrorCode::no_space) stream.segments.back().seal();
    return done;
}

Result<void> Files::begin_segment(Stream& stream, uint64_t covers_from) {
    Segment segment(path_of(stream, covers_from), covers_from, 0);
    auto opened = segment.open_for_append();
    if (!opened.ok()) {
        std::error_code ignored;
        if (segment.size_bytes() == 0) std::filesystem::remove(segment.path(), ignored);
        return opened.take_error();
    }
    if (!stream.segments.empty()) stream.segments.back().seal();
    stream.segments.push_back(std::move(segment));
    unload_some(stream);
    return {};
}

// ---- retention

void Files::expire() {
    expire(main_);
    expire(audit_);
}

void Files::expire(Stream& stream) {
    const int64_t oldest_ns = options_.now_ns() - stream.age_max_ns;
    uint64_t bytes = 0;
    for (const Segment& each : stream.segments) bytes += each.size_bytes();
    // The newest stays, so that the sequence goes on.
    while (stream.segments.size() > 1) {
        Segment& oldest = stream.segments.front();
        bool is_old = bytes > stream.bytes_max;
        if (!is_old) {
            const auto index = index_of(oldest);
            is_old = index.ok() && (*index)->newest_ns < oldest_ns;
        }
        if (!is_old) return;
        bytes -= oldest.size_bytes();
        std::error_code error;
        std::filesystem::remove(oldest.path(), error);
        if (error) return;
        stream.segments.erase(stream.segments.begin());
    }
}

FilesState Files::take_state() {
    FilesState state;
    state.last_sequence = last_;
    if (!main_.segments.empty()) state.covers_from = main_.segments.front().covers_from();
    for (const Stream* stream : {&main_, &audit_}) {
        for (const Segment& each : stream->segments) state.size_bytes += each.size_bytes();
    }
    state.damaged = damaged_;
    state.notes = std::exchange(notes_, {});
    return state;
}

// ---- reading

Result<const Index*> Files::index_of(Segment& segment) {
    TRY_ASSIGN(const Segment::Loaded loaded, segment.load());
    const uint64_t damaged = loaded.index->damaged + loaded.index->damaged_tail;
    if (loaded.is_new && damaged > 0) note_damage(segment, damaged);
    return loaded.index;
}

void Files::unload_some(Stream& stream) {
    size_t loaded = 0;
    for (auto at = stream.segments.rbegin(); at != stream.segments.rend(); ++at) {
        if (at->is_loaded() && ++loaded > kLoadedMax) at->unload();
    }
}

void Files::find_in(const Segment& segment, const Index& index, const Query& query, size_t most,
                    std::vector<Found>& found) const {
    const auto by_sequence = &IndexItem::sequence;
    const auto begin = std::ranges::upper_bound(index.items, query.after, {}, by_sequence);
    const auto end = std::ranges::lower_bound(index.items, query.before, {}, by_sequence);
    const uint32_t subject = hash_of(query.subject);
    const auto take = [&](const IndexItem& item) {
        const bool fits = (!query.kind || *query.kind == item.kind) &&
                          (query.subject.empty() || subject == item.subject);
        if (fits) found.push_back({&segment, item});
        return found.size() < most;
    };
    if (begin >= end) return;
    if (query.newest_first) {
        for (auto at = end; at != begin && take(*--at);) {
        }
    } else {
        for (auto at = begin; at != end && take(*at); ++at) {
        }
    }
}

// Up to one more than the limit, so that it is known whether there is more.
Result<void> Files::find(Stream& stream, const Query& query, std::vector<Found>& found) {
    const size_t most = query.limit + 1;
    const size_t count = stream.segments.size();
    std::vector<Found> mine;
    for (size_t step = 0; step < count && mine.size() < most; ++step) {
        const size_t i = query.newest_first ? count - 1 - step : step;
        Segment& segment = stream.segments[i];
        // The next one's beginning is behind all of this one.
        const bool is_before =
            i + 1 < count && stream.segments[i + 1].covers_from() <= query.after + 1;
        if (is_before || segment.covers_from() >= query.before) continue;
        TRY_ASSIGN(const Index* index, index_of(segment));
        find_in(segment, *index, query, most, mine);
    }
    found.insert(found.end(), mine.begin(), mine.end());
    return {};
}

Result<Page> Files::query(const Query& query) {
    std::vector<Found> found;
    if (query.kind != Kind::audit) TRY(find(main_, query, found));
    if (!query.kind || query.kind == Kind::audit) TRY(find(audit_, query, found));
    std::ranges::sort(found, [&query](const Found& a, const Found& b) {
        return query.newest_first ? a.item.sequence > b.item.sequence
                                  : a.item.sequence < b.item.sequence;
    });
    Page page;
    if (found.size() > query.limit) {
        found.resize(query.limit);
        page.next = found.back().item.sequence;
    }
    for (const Found& each : found) {
        TRY_ASSIGN(const std::string line, each.segment->read(each.item));
        std::optional<Entry> entry = read_line(line);
        if (!entry) {
            note_damage(*each.segment, 1);
        } else if (query.subject.empty() || query.subject == entry->subject) {
            page.entries.push_back(*std::move(entry));
        }
    }
    unload_some(main_);
    unload_some(audit_);
    return page;
}

}  // namespace stoa::journal
