#include "client/endpoint.h"

#include <gtest/gtest.h>
#include <stdlib.h>  // mkdtemp, setenv

#include <filesystem>
#include <fstream>

namespace stoa::client {
namespace {

TEST(Endpoint, is_read_from_a_url) {
    EXPECT_EQ(parse_url("https://paris.example.org")->to_string(),
              "https://paris.example.org:8443");
    EXPECT_EQ(parse_url("https://paris:9000/")->port, 9000);
    EXPECT_EQ(parse_url("paris")->host, "paris");
    EXPECT_EQ(parse_url("[::1]:77")->to_string(), "https://[::1]:77");
    EXPECT_EQ(parse_url("https://[fe80::1]")->host, "fe80::1");
}

TEST(Endpoint, that_is_none_is_refused) {
    for (const char* wrong : {"", "http://paris", "https://", "https://paris:0", "https://paris:x",
                              "https://paris:70000", "https://pa ris", "https://paris/v1", "[::1",
                              "[::1]x", "a\r\nb"}) {
        const auto endpoint = parse_url(wrong);
        ASSERT_FALSE(endpoint.ok()) << wrong;
        EXPECT_EQ(endpoint.error().code(), ErrorCode::invalid_argument);
    }
}

TEST(Endpoint, of_a_root_is_the_socket_of_its_instance) {
    std::string folder = (std::filesystem::temp_directory_path() / "stoa-XXXXXX").string();
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    const std::filesystem::path root(folder);
    EXPECT_EQ(socket_of_root(folder).error().code(), ErrorCode::not_found);
    std::filesystem::create_directories(root / "blockd");
    std::ofstream(root / "blockd/state.json") << R"({"version":1,"instance":"../../etc"})";
    EXPECT_EQ(socket_of_root(folder).error().code(), ErrorCode::corrupt);
    std::ofstream(root / "blockd/state.json") << R"({"version":1,"instance":"00c0ffee"})";
    EXPECT_EQ(socket_of_root(folder).error().code(), ErrorCode::not_found);
    setenv("XDG_RUNTIME_DIR", folder.c_str(), 1);
    std::filesystem::create_directories(root / "stoa/00c0ffee");
    const std::string socket = folder + "/stoa/00c0ffee/stoad.sock";
    std::ofstream(socket).close();
    EXPECT_EQ(*socket_of_root(folder), socket);
    unsetenv("XDG_RUNTIME_DIR");
    std::filesystem::remove_all(root);
}

TEST(PercentEncoding, leaves_nothing_that_means_something) {
    EXPECT_EQ(percent_encode("web-1_a.b~c"), "web-1_a.b~c");
    EXPECT_EQ(percent_encode("a/b?c&d=e f\r\n%"), "a%2Fb%3Fc%26d%3De%20f%0D%0A%25");
}

}  // namespace
}  // namespace stoa::client
