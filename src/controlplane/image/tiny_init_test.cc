#include "controlplane/image/tiny_init.h"

#include <gtest/gtest.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "controlplane/host/command.h"

namespace stoa::image {
namespace {

// Runs `sh -n` of busybox, the shell that will run it.
AsyncVoid check_script(std::string script, std::string& complaint) {
    host::CommandSpec spec;
    spec.program = "busybox";
    spec.arguments = {"sh", "-n"};
    spec.input = std::move(script);
    const auto result = co_await host::run_successfully(std::move(spec));
    complaint = result.ok() ? "" : result.error().message();
}

TEST(TinyInitTest, the_scripts_are_ones_that_busybox_reads) {
    for (const std::string& script :
         {init_script({"virtio", "virtio_pci"}), std::string(dhcp_script()),
          std::string(shutdown_script()), std::string(power_button_script())}) {
        EXPECT_TRUE(script.starts_with("#!/bin/busybox sh\n"));
        asio::io_context loop;
        std::string complaint;
        asio::co_spawn(loop, check_script(script, complaint), [](const std::exception_ptr& left) {
            if (left) std::rethrow_exception(left);
        });
        loop.run();
        EXPECT_EQ(complaint, "");
    }
}

}  // namespace
}  // namespace stoa::image
