// The journal of one host: an append-only record of events, decisions, audit and tasks.
//
// On disk: docs/format/journal.md. Why files and not a database: docs/decisions/005-journal.md.
//
// What is durable when: add() returns at once and promises nothing. Entries are written in batches,
// each followed by one sync of the disk; flush() waits for it. Queries and watches show only what
// is durable. A batch that cannot be written is counted as lost and said in an entry as soon as
// there is space again; it is never an error of whoever did the work.
//
// Damage: a torn or damaged tail is cut off; damage elsewhere loses the damaged entries alone. Both
// are said, in an event entry and through Options::tell. The sequence goes on behind what was lost.
//
// Lives on one thread; files are touched by a thread of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/async/async.h"
#include "controlplane/journal/entry.h"

namespace stoa::journal {

struct Options {
    std::string directory;  // made if it does not exist; nothing else is in it
    std::function<int64_t()> now_ns;  // since 1970
    // Of events, decisions and tasks; the oldest go first, a file at a time.
    uint64_t bytes_max = uint64_t{64} << 20;
    int64_t age_max_ns = int64_t{90} * 86'400 * 1'000'000'000;
    // Of audit entries, which are kept in files of their own.
    uint64_t audit_bytes_max = uint64_t{128} << 20;
    int64_t audit_age_max_ns = int64_t{400} * 86'400 * 1'000'000'000;
    // Entries that wait to be written; what is beyond is lost.
    size_t waiting_max = 10'000;
    // What an administrator should know: damage, a full file system.
    std::function<void(std::string)> tell = [](const std::string&) {};
};

struct Query {
    std::optional<Kind> kind;  // none: all
    std::string subject;  // empty: all
    uint64_t after = 0;  // sequences greater than this
    uint64_t before = std::numeric_limits<uint64_t>::max();  // and less than this
    bool newest_first = false;
    size_t limit = 100;  // 1 to kQueryMax
};
constexpr size_t kQueryMax = 1000;

struct Page {
    std::vector<Entry> entries;
    // There may be more: ask again with `after` (newest_first: `before`) this sequence.
    std::optional<uint64_t> next;
};

struct Statistics {
    uint64_t bytes = 0;  // in files
    uint64_t written = 0;  // entries, since open()
    uint64_t lost = 0;  // entries that could not be written, since open()
    uint64_t damaged = 0;  // entries found damaged, since open()
    bool is_failing = false;  // the last batch could not be written
    std::string last_failure;  // why
};

// Entries from some sequence on, as they become durable. They are read from the files, so that one
// who takes nothing costs nothing. Destroy it before the journal. One waiter at a time.
class Watch {
public:
    Watch() = default;
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    virtual ~Watch() = default;
    // At least one, in their order.
    // Errors: gone (who watches is so far behind that entries were removed; begin anew), cancelled
    // (also when the journal closes), io.
    virtual Async<std::vector<Entry>> next() = 0;
};

class Journal {
public:
    // Reads the newest file of each kind, cuts off what is torn.
    // Errors: io, no_space, denied.
    static Async<std::unique_ptr<Journal>> open(asio::any_io_executor executor, Options options);
    Journal(const Journal&) = delete;
    Journal& operator=(const Journal&) = delete;
    ~Journal();  // CHECKs that close() finished.

    // Never waits, never fails. Its sequence is given when it is written.
    void add(Entry entry);
    void event(std::string subject, std::string text, Json data = nullptr);
    // Why something was chosen; shown by `stoa why`.
    void decision(std::string subject, std::string text, Json data);

    // Until all that was added before is durable, or lost.
    AsyncVoid flush();

    // Entries in the order of their sequences. Reads what it needs, not all.
    // Errors: invalid_argument (limit), cancelled (closing), io.
    Async<Page> query(Query query);

    // Entries after `sequence`. Errors: gone (too long ago, or of a journal that is no more).
    [[nodiscard]] Result<std::unique_ptr<Watch>> watch(uint64_t sequence);

    // Of the newest durable entry; 0: none.
    [[nodiscard]] uint64_t last_sequence() const;
    [[nodiscard]] const Statistics& statistics() const;

    // Removes what is older or more than Options say; done by itself too, when a file is full and
    // once an hour.
    AsyncVoid expire();

    // Writes what waits, ends watches. Call once.
    AsyncVoid close();

private:
    struct State;
    explicit Journal(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace stoa::journal
