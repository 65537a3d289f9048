// A directory of a test, gone with it. Test-only.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/check.h"

namespace stoa::task {

class TestDirectory {
public:
    // In memory where that is possible: tests sync a lot, and a kill of the process loses nothing
    // that was written.
    TestDirectory() {
        const std::filesystem::path memory = "/dev/shm";
        std::error_code error;
        const bool has_memory = std::filesystem::is_directory(memory, error);
        std::string name =
            (has_memory ? memory : std::filesystem::temp_directory_path()) / "stoa-task-XXXXXX";
        CHECK(mkdtemp(name.data()) != nullptr);
        path_ = name;
    }
    TestDirectory(const TestDirectory&) = delete;
    TestDirectory& operator=(const TestDirectory&) = delete;
    ~TestDirectory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

private:
    std::filesystem::path path_;
};

}  // namespace stoa::task
