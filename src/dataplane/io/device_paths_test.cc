// On real files and links: which paths are one device.
#include "dataplane/io/device_paths.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "dataplane/io/test_directory.h"

namespace stoa::io {
namespace {

class DevicePathsTest : public testing::Test {
protected:
    // The error for the paths; empty if there is none.
    static std::string refusal(const std::vector<std::string>& paths) {
        const Result<void> checked = check_distinct(paths);
        return checked.ok() ? "" : checked.error().message();
    }
    std::string path(const std::string& name) const { return directory_.file(name); }

    TestDirectory directory_;
};

TEST_F(DevicePathsTest, one_file_by_any_path_is_one_device) {
    const std::string one = path("one");
    const std::string two = path("two");
    const std::string link = path("link");
    const std::string twin = path("twin");
    std::ofstream(one).close();
    std::ofstream(two).close();
    std::filesystem::create_symlink(one, link);
    std::filesystem::create_hard_link(one, twin);
    EXPECT_EQ(refusal({}), "");
    EXPECT_EQ(refusal({one, two}), "");
    EXPECT_EQ(refusal({one, two, one}), "device " + one + " is given twice");
    EXPECT_EQ(refusal({one, two, link}),
              "devices " + one + " and " + link + " are the same: give it once");
    EXPECT_EQ(refusal({twin, one}),
              "devices " + twin + " and " + one + " are the same: give it once");
    EXPECT_NE(refusal({one, path("./one")}), "");
}

TEST_F(DevicePathsTest, files_that_are_to_be_made_are_told_apart_by_their_place) {
    std::filesystem::create_directory(path("folder"));
    std::filesystem::create_directory_symlink(path("folder"), path("other"));
    EXPECT_EQ(refusal({path("folder/a"), path("folder/b")}), "");
    EXPECT_EQ(refusal({path("a"), path("a")}), "device " + path("a") + " is given twice");
    EXPECT_NE(refusal({path("folder/a"), path("other/a")}), "");
    EXPECT_NE(refusal({path("folder/a"), path("folder/../folder/./a")}), "");
    std::filesystem::create_symlink("folder/a", path("dangling"));
    EXPECT_NE(refusal({path("folder/a"), path("dangling")}), "");
    EXPECT_EQ(refusal({path("folder/b"), path("dangling")}), "");
    std::filesystem::create_symlink("round", path("round"));
    EXPECT_EQ(refusal({path("folder/b"), path("round")}), "");
    EXPECT_EQ(refusal({"", ""}), "device  is given twice");
}

}  // namespace
}  // namespace stoa::io
