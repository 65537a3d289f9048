#include "controlplane/image/cpio.h"

#include <gtest/gtest.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "controlplane/host/command.h"

namespace stoa::image {
namespace {

// What another program finds in an archive.
AsyncVoid list_archive(std::string archive, std::string& text) {
    host::CommandSpec spec;
    spec.program = "cpio";
    spec.arguments = {"-itvn", "--quiet"};
    spec.input = std::move(archive);
    const auto result = co_await host::run_successfully(std::move(spec));
    text = result.ok() ? *result : result.error().message();
}

std::string listed(std::string archive) {
    asio::io_context loop;
    std::string text;
    asio::co_spawn(loop, list_archive(std::move(archive), text),
                   [](const std::exception_ptr& left) {
                       if (left) std::rethrow_exception(left);
                   });
    loop.run();
    return text;
}

TEST(CpioTest, cpio_reads_what_is_written) {
    CpioWriter writer;
    writer.directory("bin");
    writer.file("bin/tool", "12345", 0755);
    writer.symlink("bin/other", "tool");
    writer.character_device("console", 0600, 5, 1);
    const std::string archive = writer.finish();
    EXPECT_EQ(archive.size() % 512, 0U);
    const std::string text = listed(archive);
    EXPECT_TRUE(text.contains("drwxr-xr-x   1 0        0               0 Jan  1  1970 bin\n"))
        << text;
    EXPECT_TRUE(text.contains("-rwxr-xr-x   1 0        0               5 Jan  1  1970 bin/tool\n"))
        << text;
    EXPECT_TRUE(text.contains("bin/other -> tool\n")) << text;
    EXPECT_TRUE(text.contains("crw-------   1 0        0          5,   1 Jan  1  1970 console\n"))
        << text;
}

TEST(CpioTest, equal_entries_make_equal_archives) {
    CpioWriter writer;
    writer.file("a", "x", 0644);
    const std::string first = writer.finish();
    writer.file("a", "x", 0644);
    EXPECT_EQ(first, writer.finish());
}

}  // namespace
}  // namespace stoa::image
