#include "controlplane/journal/journal.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "controlplane/async/deadline.h"
#include "controlplane/journal/line.h"

namespace stoa::journal {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kDayNs = int64_t{86'400} * 1'000'000'000;

class JournalTest : public ::testing::Test {
protected:
    JournalTest() {
        std::string name = fs::temp_directory_path() / "stoa-journal-XXXXXX";
        EXPECT_NE(mkdtemp(name.data()), nullptr);
        directory_ = name;
        options_.directory = directory_ / "journal";
        options_.now_ns = [this] { return now_ns_; };
        options_.tell = [this](const std::string& text) { told_.push_back(text); };
    }
    ~JournalTest() override {
        close();
        fs::remove_all(directory_);
    }

    template <class T>
    static AsyncVoid keep(asio::awaitable<T> task, std::optional<T>& into) {
        into.emplace(co_await std::move(task));
    }
    template <class T>
    T run(asio::awaitable<T> task) {
        std::optional<T> result;
        run(keep(std::move(task), result));
        return *std::move(result);
    }
    // Until the task is over; the journal's own coroutines wait then.
    void run(AsyncVoid task) {
        bool over = false;
        asio::co_spawn(loop_, std::move(task), [&over](const std::exception_ptr& left) {
            ASSERT_FALSE(left);
            over = true;
        });
        loop_.restart();
        while (!over) loop_.run_one();
    }

    void open() {
        auto made = run(Journal::open(loop_.get_executor(), options_));
        ASSERT_TRUE(made.ok()) << made.error().message();
        journal_ = *std::move(made);
    }
    void close() {
        if (journal_) run(journal_->close());
        journal_.reset();
    }
    void add(Kind kind, const std::string& subject, const std::string& text) {
        Entry entry;
        entry.kind = kind;
        entry.subject = subject;
        entry.text = text;
        journal_->add(std::move(entry));
    }
    void flush() { run(journal_->flush()); }
    std::vector<Entry> query(Query query) {
        auto page = run(journal_->query(std::move(query)));
        EXPECT_TRUE(page.ok()) << page.error().message();
        next_ = page->next;
        return std::move(page->entries);
    }
    static std::string texts(const std::vector<Entry>& entries) {
        std::string all;
        for (const Entry& entry : entries) {
            all += fmt::format("{}{}:{}", all.empty() ? "" : " ", entry.sequence, entry.text);
        }
        return all;
    }
    std::string all() {
        Query whole;
        whole.limit = kQueryMax;
        return texts(query(whole));
    }
    std::vector<fs::path> files() {
        std::vector<fs::path> found;
        for (const auto& each : fs::directory_iterator(options_.directory)) {
            found.push_back(each.path());
        }
        std::ranges::sort(found);
        return found;
    }
    static std::string content(const fs::path& path) {
        std::stringstream text;
        text << std::ifstream(path).rdbuf();
        return text.str();
    }
    static void replace(const fs::path& path, const std::string& text) {
        std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
    }

    asio::io_context loop_;
    fs::path directory_;
    Options options_;
    int64_t now_ns_ = 1'000 * kDayNs;
    std::vector<std::string> told_;
    std::unique_ptr<Journal> journal_;
    std::optional<uint64_t> next_;
};

TEST_F(JournalTest, an_entry_is_read_as_it_was_added) {
    open();
    Entry entry;
    entry.kind = Kind::decision;
    entry.subject = "vm/1";
    entry.text = "two\nlines \xc3\xa4 \"quoted\"";
    entry.principal = "local/0";
    entry.data = JsonObject{{"inputs", JsonArray{1, 2}}};
    journal_->add(entry);
    flush();
    close();
    open();
    const auto found = query({});
    ASSERT_EQ(found.size(), 1U);
    entry.sequence = 1;
    entry.time_ns = now_ns_;
    EXPECT_EQ(to_text(to_json(found[0])), to_text(to_json(entry)));
    EXPECT_EQ(journal_->last_sequence(), 1U);
}

TEST_F(JournalTest, sequences_go_on_after_it_is_opened_again) {
    open();
    add(Kind::event, "", "a");
    add(Kind::audit, "", "b");
    close();
    open();
    add(Kind::task, "", "c");
    flush();
    EXPECT_EQ(all(), "1:a 2:b 3:c");
}

TEST_F(JournalTest, a_query_finds_by_subject_and_kind_in_both_directions) {
    open();
    for (int i = 1; i <= 9; ++i) {
        add(i % 3 == 0 ? Kind::audit : Kind::event, fmt::format("vm/{}", i % 2), std::to_string(i));
    }
    flush();
    Query by;
    by.subject = "vm/1";
    EXPECT_EQ(texts(query(by)), "1:1 3:3 5:5 7:7 9:9");
    by.kind = Kind::audit;
    EXPECT_EQ(texts(query(by)), "3:3 9:9");
    EXPECT_EQ(next_, std::nullopt);
    by = {};
    by.newest_first = true;
    by.limit = 2;
    EXPECT_EQ(texts(query(by)), "9:9 8:8");
    EXPECT_EQ(next_, 8U);
    by.before = *next_;
    EXPECT_EQ(texts(query(by)), "7:7 6:6");
    by = {};
    by.after = 7;
    EXPECT_EQ(texts(query(by)), "8:8 9:9");
    by.limit = 0;
    EXPECT_EQ(run(journal_->query(by)).error().code(), ErrorCode::invalid_argument);
}

TEST_F(JournalTest, pages_in_both_directions_show_each_entry_once_through_many_files) {
    options_.bytes_max = uint64_t{1} << 20;  // files of 64 KiB
    open();
    std::string expected;
    for (int i = 1; i <= 2000; ++i) {
        add(i % 50 == 0 ? Kind::audit : Kind::event, fmt::format("vm/{}", i % 7),
            std::string(100, 'x'));
        if (i % 100 == 0) flush();
    }
    EXPECT_GT(files().size(), 4U);
    close();
    open();
    for (const bool newest_first : {false, true}) {
        Query page;
        page.newest_first = newest_first;
        page.subject = "vm/3";
        page.limit = 17;
        std::vector<uint64_t> seen;
        for (;;) {
            for (const Entry& entry : query(page)) seen.push_back(entry.sequence);
            if (!next_) break;
            (newest_first ? page.before : page.after) = *next_;
        }
        if (newest_first) std::ranges::reverse(seen);
        std::vector<uint64_t> right;
        for (uint64_t i = 3; i <= 2000; i += 7) right.push_back(i);
        EXPECT_EQ(seen, right);
    }
}

TEST_F(JournalTest, a_watch_resumes_after_its_sequence_and_then_waits) {
    open();
    for (const char* text : {"a", "b", "c"}) add(Kind::event, "", text);
    close();
    open();
    auto watch = *journal_->watch(1);
    EXPECT_EQ(texts(*run(watch->next())), "2:b 3:c");
    const auto none = run(within(std::chrono::milliseconds(30), "the watch", watch->next()));
    EXPECT_EQ(none.error().code(), ErrorCode::timeout);
    add(Kind::event, "", "d");
    EXPECT_EQ(texts(*run(watch->next())), "4:d");
    EXPECT_EQ(journal_->watch(5).error().code(), ErrorCode::gone);
    EXPECT_TRUE(journal_->watch(4).ok());
    run(journal_->close());
    EXPECT_EQ(run(watch->next()).error().code(), ErrorCode::cancelled);
    watch.reset();
    journal_.reset();
}

TEST_F(JournalTest, the_oldest_go_when_there_is_too_much_and_audit_stays) {
    options_.bytes_max = uint64_t{256} << 10;
    open();
    add(Kind::audit, "", "audit");
    for (int i = 0; i < 4000; ++i) {
        add(Kind::event, "", std::string(200, 'x'));
        if (i % 100 == 0) flush();
    }
    flush();
    EXPECT_LT(journal_->statistics().bytes, (uint64_t{256} << 10) + (uint64_t{128} << 10));
    Query first;
    first.limit = 1;
    first.kind = Kind::event;
    EXPECT_GT(query(first).at(0).sequence, 1000U);
    first.kind = Kind::audit;
    EXPECT_EQ(texts(query(first)), "1:audit");
    EXPECT_EQ(journal_->watch(1).error().code(), ErrorCode::gone);
    EXPECT_TRUE(journal_->watch(4000).ok());
}

TEST_F(JournalTest, what_is_too_old_goes_but_the_newest_file) {
    options_.bytes_max = uint64_t{1} << 20;
    open();
    for (int i = 0; i < 600; ++i) {
        add(Kind::event, "", std::string(200, 'x'));
        if (i % 100 == 0) flush();
    }
    flush();
    const size_t before = files().size();
    EXPECT_GT(before, 1U);
    now_ns_ += 91 * kDayNs;
    run(journal_->expire());
    EXPECT_EQ(files().size(), 1U);
    add(Kind::event, "", "new");
    flush();
    EXPECT_EQ(journal_->last_sequence(), 601U);
}

TEST_F(JournalTest, a_torn_tail_is_cut_off_and_said) {
    open();
    for (const char* text : {"a", "b", "c"}) add(Kind::event, "", text);
    close();
    const fs::path file = files().at(0);
    const std::string whole = content(file);
    for (size_t cut = 1; cut < 40; cut += 3) {
        fs::remove_all(options_.directory);
        fs::create_directory(options_.directory);
        replace(file, whole.substr(0, whole.size() - cut));
        told_.clear();
        open();
        flush();
        ASSERT_EQ(told_.size(), 1U) << cut;
        EXPECT_NE(told_[0].find("were cut off"), std::string::npos);
        add(Kind::event, "", "d");
        flush();
        EXPECT_EQ(all(), fmt::format("1:a 2:b 3:{} 4:d", told_[0])) << cut;
        close();
    }
}

TEST_F(JournalTest, damage_in_the_middle_loses_that_entry_alone_and_is_said) {
    open();
    for (const char* text : {"aaa", "bbb", "ccc"}) add(Kind::event, "", text);
    close();
    const fs::path file = files().at(0);
    std::string damaged = content(file);
    damaged[damaged.find("bbb")] = 'X';
    replace(file, damaged);
    open();
    flush();
    ASSERT_EQ(told_.size(), 1U);
    EXPECT_NE(told_[0].find("1 entry is damaged"), std::string::npos) << told_[0];
    EXPECT_EQ(journal_->statistics().damaged, 1U);
    EXPECT_EQ(all(), fmt::format("1:aaa 3:ccc 4:{}", told_[0]));
}

TEST_F(JournalTest, a_damaged_tail_keeps_the_sequences_of_what_was_whole) {
    open();
    for (const char* text : {"aaa", "bbb", "ccc"}) add(Kind::event, "", text);
    close();
    const fs::path file = files().at(0);
    std::string damaged = content(file);
    damaged[damaged.find("bbb")] = 'X';
    damaged[damaged.find("ccc")] = 'X';
    replace(file, damaged);
    open();
    add(Kind::event, "", "d");
    flush();
    EXPECT_EQ(all(), fmt::format("1:aaa 4:{} 5:d", told_.at(0)));
}

TEST_F(JournalTest, any_byte_may_be_damaged_and_the_rest_is_read) {
    open();
    for (int i = 0; i < 5; ++i) add(Kind::event, "vm/1", std::to_string(i));
    close();
    const fs::path file = files().at(0);
    const std::string whole = content(file);
    for (size_t at = 0; at < whole.size(); at += 5) {
        std::string damaged = whole;
        damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
        fs::remove_all(options_.directory);
        fs::create_directory(options_.directory);
        replace(file, damaged);
        open();
        Query by;
        by.subject = "vm/1";
        const size_t lines = static_cast<size_t>(std::ranges::count(damaged, '\n'));
        EXPECT_GE(query(by).size(), lines == 6 ? 4U : 3U) << at;
        close();
    }
}

TEST_F(JournalTest, long_and_deep_entries_are_cut_not_refused) {
    open();
    Entry entry;
    entry.subject = "vm/\n1 " + std::string(1000, 's');
    entry.text = std::string(10'000, 't') + "\xff";
    Json deep = 1;
    for (int i = 0; i < 100; ++i) deep = JsonArray{deep};
    entry.data = deep;
    journal_->add(entry);
    entry.data = JsonObject{{"text", std::string(100'000, 'd')}};
    journal_->add(entry);
    flush();
    const auto found = query({});
    ASSERT_EQ(found.size(), 2U);
    EXPECT_EQ(found[0].text.size(), kTextBytesMax);
    EXPECT_EQ(found[0].subject.substr(0, 6), "vm/_1_");
    EXPECT_EQ(to_text(found[0].data), R"({"left_out_bytes":0})");
    EXPECT_GT(found[1].data.at("left_out_bytes").to_number<int>(), 100'000);
}

TEST_F(JournalTest, what_does_not_fit_into_the_queue_is_counted_and_said) {
    options_.waiting_max = 3;
    open();
    for (int i = 0; i < 5; ++i) add(Kind::event, "", std::to_string(i));
    flush();
    EXPECT_EQ(journal_->statistics().lost, 2U);
    add(Kind::event, "", "later");
    flush();
    EXPECT_NE(all().find("2 entries could not be written to the journal"), std::string::npos);
}

// Needs the right to mount; the file system is as small as it takes.
TEST_F(JournalTest, a_full_file_system_loses_entries_and_says_how_many) {
    const std::string mount =
        fmt::format("mount -t tmpfs -o size=256k none {} 2>/dev/null", directory_.string());
    if (std::system(mount.c_str()) != 0) GTEST_SKIP() << "this machine lets nobody mount a tmpfs";
    open();
    add(Kind::event, "", "before");
    flush();
    const fs::path ballast = directory_ / "ballast";
    std::ofstream(ballast) << std::string(size_t{1} << 20, 'x');
    for (int i = 0; i < 100; ++i) add(Kind::event, "", std::string(1000, 'x'));
    flush();
    EXPECT_TRUE(journal_->statistics().is_failing);
    const uint64_t lost = journal_->statistics().lost;
    EXPECT_GT(lost, 0U);
    EXPECT_EQ(told_.size(), 1U);
    fs::remove(ballast);
    add(Kind::event, "", "after");
    flush();
    EXPECT_FALSE(journal_->statistics().is_failing);
    const std::string seen = all();
    EXPECT_NE(seen.find("1:before"), std::string::npos);
    EXPECT_NE(seen.find(fmt::format("{} entries could not be written", lost)), std::string::npos);
    EXPECT_NE(seen.find(":after"), std::string::npos);
    close();
    const std::string unmount = fmt::format("umount {}", directory_.string());
    EXPECT_EQ(std::system(unmount.c_str()), 0);
}

}  // namespace
}  // namespace stoa::journal
