// The documents say what is so: the session of README.md is run, paths that documents name exist,
// tests that docs/promises.md names exist, and docs/limits.md has the numbers of the sources.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <stdlib.h>  // mkdtemp, setenv

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include "dataplane/pool/format.h"
#include "dataplane/pool/limits.h"

namespace stoa::apps::demo {
namespace {

std::string read_text(const std::filesystem::path& path) {
    std::ifstream file(path);
    EXPECT_TRUE(file) << path;
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return lines;
}

// One command of a session and the lines it is to print.
struct Step {
    std::string command;
    std::vector<std::string> output;
};

// The commands of all ```console blocks.
std::vector<Step> session_of(const std::string& document) {
    std::vector<Step> steps;
    bool inside = false;
    for (const std::string& line : lines_of(document)) {
        if (line.starts_with("```")) inside = line == "```console";
        else if (inside && line.starts_with("$ ")) steps.push_back({line.substr(2), {}});
        else if (inside && !steps.empty()) steps.back().output.push_back(line);
    }
    return steps;
}

std::string without_identifiers(const std::string& line) {
    static const std::regex uuid("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}");
    return std::regex_replace(line, uuid, "UUID");
}

// A line "..." stands for any lines, "..." at the end of a line for any rest.
bool fits(const std::vector<std::string>& expected, size_t e, const std::vector<std::string>& seen,
          size_t s) {
    if (e == expected.size()) return s == seen.size();
    if (expected[e] == "...") {
        for (size_t skip = s; skip <= seen.size(); ++skip) {
            if (fits(expected, e + 1, seen, skip)) return true;
        }
        return false;
    }
    if (s == seen.size()) return false;
    const std::string have = without_identifiers(seen[s]);
    std::string want = without_identifiers(expected[e]);
    const bool open = want.ends_with("...");
    if (open) want.resize(want.size() - 3);
    return (open ? have.starts_with(want) : have == want) && fits(expected, e + 1, seen, s + 1);
}

std::string output_of(const std::string& command) {
    std::string output;
    FILE* pipe = popen((command + " 2>&1").c_str(), "r");
    if (pipe == nullptr) return "cannot run";
    std::array<char, 4096> buffer;
    while (const size_t got = fread(buffer.data(), 1, buffer.size(), pipe)) {
        output.append(buffer.data(), got);
    }
    pclose(pipe);
    return output;
}

// Changes into a folder of its own, with stoa-pool in the path.
class Readme : public testing::Test {
protected:
    void SetUp() override {
        const char* program = std::getenv("STOA_PROGRAM");
        if (program == nullptr) GTEST_SKIP() << "STOA_PROGRAM is not set";
        const auto apps = std::filesystem::path(program).parent_path().parent_path();
        ASSERT_TRUE(std::filesystem::exists(apps / "pool" / "stoa-pool")) << apps;
        const std::string path = (apps / "pool").string() + ":" + std::getenv("PATH");
        setenv("PATH", path.c_str(), 1);
        std::string folder = (std::filesystem::temp_directory_path() / "stoa-XXXXXX").string();
        ASSERT_NE(mkdtemp(folder.data()), nullptr);
        folder_ = folder;
        document_ = read_text("README.md");
        std::filesystem::current_path(folder_);
    }
    void TearDown() override {
        if (folder_.empty()) return;
        std::filesystem::current_path(home_);
        std::filesystem::remove_all(folder_);
    }

    const std::filesystem::path home_ = std::filesystem::current_path();
    std::filesystem::path folder_;
    std::string document_;
};

TEST_F(Readme, the_session_prints_what_it_says) {
    const std::vector<Step> steps = session_of(document_);
    EXPECT_GE(steps.size(), 5u);
    for (const Step& step : steps) {
        ASSERT_TRUE(step.command.starts_with("stoa-pool ")) << step.command;
        const std::string output = output_of(step.command);
        EXPECT_TRUE(fits(step.output, 0, lines_of(output), 0))
            << "$ " << step.command << "\nprints:\n"
            << output;
    }
}

std::vector<std::filesystem::path> documents() {
    std::vector<std::filesystem::path> found{"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"};
    for (const auto& entry : std::filesystem::recursive_directory_iterator("docs")) {
        if (entry.path().extension() == ".md") found.push_back(entry.path());
    }
    return found;
}

// Everything between single backquotes.
std::vector<std::string> quoted_in(const std::string& text) {
    static const std::regex word("`([^`\n]+)`");
    std::vector<std::string> words;
    for (std::sregex_iterator at(text.begin(), text.end(), word), end; at != end; ++at) {
        words.push_back((*at)[1]);
    }
    return words;
}

TEST(Documents, name_only_files_that_exist) {
    static const std::regex path("(docs|src|tests|tools|bench|cmake|packaging)/[A-Za-z0-9_./-]+");
    size_t checked = 0;
    for (const auto& document : documents()) {
        for (const std::string& word : quoted_in(read_text(document))) {
            if (!std::regex_match(word, path) || word.find("corpus") != std::string::npos) continue;
            ++checked;
            EXPECT_TRUE(std::filesystem::exists(word)) << document << " names " << word;
        }
    }
    EXPECT_GT(checked, 20u);
}

// All C++ of the tree: where tests and sequences have their names.
std::string all_tests() {
    std::string all;
    for (const char* folder : {"src", "tests"}) {
        for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
            const std::string name = entry.path().filename().string();
            const bool is_test = name.ends_with("_test.cc") || name.ends_with("_fuzz.cc");
            const bool in_simulation = entry.path().parent_path() == "tests/sim";
            if (entry.is_regular_file() && (is_test || in_simulation)) {
                all += read_text(entry.path());
            }
        }
    }
    return all;
}

TEST(Documents, promises_name_only_tests_that_exist) {
    static const std::regex name("(?:[A-Z]\\w+\\.)?([a-z0-9]+(?:_[a-z0-9]+){2,})");
    const std::string tests = all_tests();
    size_t checked = 0;
    for (const std::string& word : quoted_in(read_text("docs/promises.md"))) {
        std::smatch parts;
        if (!std::regex_match(word, parts, name)) continue;
        ++checked;
        EXPECT_NE(tests.find(parts[1].str()), std::string::npos) << "no test " << word;
    }
    EXPECT_GT(checked, 20u);
}

std::string with_commas(uint64_t value) {
    std::string text = std::to_string(value);
    for (auto at = static_cast<ptrdiff_t>(text.size()) - 3; at > 0; at -= 3) {
        text.insert(static_cast<size_t>(at), ",");
    }
    return text;
}

TEST(Documents, limits_have_the_numbers_of_the_sources) {
    const std::string document = read_text("docs/limits.md");
    const std::vector<std::pair<const char*, uint64_t>> limits{
        {"kBlockBytes", pool::kBlockBytes},
        {"kSectorBytes", pool::kSectorBytes},
        {"kVolumeBytesMax", pool::kVolumeBytesMax},
        {"kVolumesMax", pool::kVolumesMax},
        {"kSnapshotsPerVolumeMax", pool::kSnapshotsPerVolumeMax},
        {"kSnapshotsMax", pool::kSnapshotsMax},
        {"kSnapshotGroupMax", pool::kSnapshotGroupMax},
        {"kCloneDepthMax", pool::kCloneDepthMax},
        {"kDevicesMax", pool::kDevicesMax},
        {"kNameBytesMax", pool::kNameBytesMax},
        {"kPoolNameBytesMax", pool::kPoolNameBytesMax},
        {"kTagsBytesMax", pool::kTagsBytesMax},
        {"kRequestBytesMax", pool::kRequestBytesMax},
        {"kFanout", pool::kFanout},
        {"kBlocksPerTree", pool::kBlocksPerTree},
        {"kRegionBlocksMin", pool::kRegionBlocksMin},
        {"kRegionBlocksMax", pool::kRegionBlocksMax},
        {"kRegionFixedBlocks", pool::kRegionFixedBlocks},
        {"kObjectBytes", pool::kObjectBytes},
        {"kCutsMax", pool::kCutsMax},
        {"kIndexBlocksMax", pool::kIndexBlocksMax},
        {"kRegionEntryBytes", pool::kRegionEntryBytes},
    };
    for (const auto& [name, value] : limits) {
        const std::string row = fmt::format("| `{}` | {} |", name, with_commas(value));
        EXPECT_NE(document.find(row), std::string::npos) << "docs/limits.md lacks: " << row;
    }
    // A limit that is new in the header is missed here until it gets its row and its line above.
    static const std::regex constant("inline constexpr \\w+ (k\\w+) =");
    const std::string header = read_text("src/dataplane/pool/limits.h");
    for (std::sregex_iterator at(header.begin(), header.end(), constant), end; at != end; ++at) {
        EXPECT_NE(document.find(fmt::format("| `{}` |", (*at)[1].str())), std::string::npos);
    }
}

}  // namespace
}  // namespace stoa::apps::demo
