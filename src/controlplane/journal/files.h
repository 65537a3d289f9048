// The journal's files: two streams of segments, one of audit entries and one of all others, with
// one sequence. What journal.h promises, as calls that block. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "controlplane/journal/journal.h"
#include "controlplane/journal/segment.h"

namespace stoa::journal {

// What should be said of the files themselves, with data for an event.
struct Note {
    std::string text;
    Json data;
};

// What its user should know after a call.
struct FilesState {
    uint64_t last_sequence = 0;  // of the newest durable entry
    uint64_t covers_from = 1;    // entries before it may have been removed
    uint64_t size_bytes = 0;
    uint64_t damaged = 0;  // lines, since open()
    std::vector<Note> notes;
};

class Files {
public:
    // Errors: as Journal::open.
    static Result<std::unique_ptr<Files>> open(const Options& options);

    struct Written {
        uint64_t lost = 0;    // entries of the batch
        std::string failure;  // why; empty: none
    };
    // Gives sequences; entries that cannot be written keep theirs, so that the gap shows the loss.
    Written write(std::vector<Entry>& batch);
    Result<Page> query(const Query& query);
    void expire();

    // Notes are given once.
    FilesState take_state();

private:
    struct Stream {
        std::string word;
        uint64_t bytes_max = 0;
        int64_t age_max_ns = 0;
        std::vector<Segment> segments;  // oldest first; the last one is open, if any is
    };
    struct Found {
        const Segment* segment;
        IndexItem item;
    };

    explicit Files(const Options& options);
    Result<void> find_segments();
    Result<void> open_newest(Stream& stream);
    [[nodiscard]] std::string path_of(const Stream& stream, uint64_t covers_from) const;
    Result<void> append(Stream& stream, const std::vector<const Entry*>& entries);
    Result<void> begin_segment(Stream& stream, uint64_t covers_from);
    void expire(Stream& stream);
    Result<void> find(Stream& stream, const Query& query, std::vector<Found>& found);
    void find_in(const Segment& segment, const Index& index, const Query& query, size_t most,
                 std::vector<Found>& found) const;
    Result<const Index*> index_of(Segment& segment);
    void unload_some(Stream& stream);
    void note_damage(const Segment& segment, uint64_t lines);

    Options options_;
    Stream main_;
    Stream audit_;
    uint64_t next_ = 1;
    uint64_t last_ = 0;
    uint64_t damaged_ = 0;
    std::vector<Note> notes_;
};

}  // namespace stoa::journal
