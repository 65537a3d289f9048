#include "controlplane/qemu/serial_log.h"

#include <filesystem>
#include <fstream>

#include "controlplane/qemu/guest_test.h"

namespace stoa::qemu {
namespace {

TEST(SerialLogTest, keeps_the_newest_and_goes_on_in_the_same_file) {
    const TestDirectory directory;
    const std::string path = directory.file("serial.log");
    std::ofstream log(path, std::ios::app);
    ASSERT_TRUE(trim_serial_log(path, 100).ok());
    std::string all;
    for (int i = 0; i < 100; ++i) {
        const std::string line = "line " + std::to_string(i) + "\n";
        all += line;
        log << line << std::flush;
        ASSERT_TRUE(trim_serial_log(path, 100).ok());
        ASSERT_LE(std::filesystem::file_size(path), 50U);
        const auto kept = read_serial_log(path, 60);
        ASSERT_TRUE(kept.ok());
        EXPECT_TRUE(all.ends_with(*kept));
        EXPECT_GE(kept->size(), std::min<size_t>(all.size(), 50));
    }
    EXPECT_LE(std::filesystem::file_size(path + ".1"), 50U);
}

TEST(SerialLogTest, none_is_empty) {
    const TestDirectory directory;
    const auto kept = read_serial_log(directory.file("none"));
    EXPECT_TRUE(kept.ok() && kept->empty());
    EXPECT_TRUE(trim_serial_log(directory.file("none")).ok());
}

}  // namespace
}  // namespace stoa::qemu
