// A directory of a test, gone with it. Test-only.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/check.h"

namespace stoa::state {

class TestDirectory {
public:
    TestDirectory() {
        std::string name = std::filesystem::temp_directory_path() / "stoa-state-XXXXXX";
        CHECK(mkdtemp(name.data()) != nullptr);
        path_ = name;
    }
    TestDirectory(const TestDirectory&) = delete;
    TestDirectory& operator=(const TestDirectory&) = delete;
    ~TestDirectory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    [[nodiscard]] std::string file(const std::string& name) const { return path_ / name; }

private:
    std::filesystem::path path_;
};

}  // namespace stoa::state
