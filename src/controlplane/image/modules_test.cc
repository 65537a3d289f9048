#include "controlplane/image/modules.h"

#include <gtest/gtest.h>

namespace stoa::image {
namespace {

TEST(ModulesTest, each_comes_after_what_it_needs) {
    const std::map<std::string, std::vector<std::string>> needs = {
        {"net", {"pci", "core"}}, {"pci", {"core", "ring"}}, {"core", {"ring"}}, {"ring", {}}};
    const auto order = load_order({"net", "not-there", "pci"}, needs);
    ASSERT_TRUE(order.ok());
    EXPECT_EQ(*order, (std::vector<std::string>{"ring", "core", "pci", "net"}));
    const auto circle = load_order({"a"}, {{"a", {"b"}}, {"b", {"a"}}});
    ASSERT_FALSE(circle.ok());
    EXPECT_EQ(circle.error().code(), ErrorCode::corrupt);
}

TEST(ModulesTest, a_module_says_what_it_needs) {
    using std::string_literals::operator""s;
    const auto needs = module_needs("\0license=GPL\0depends=scsi_mod,virtio-ring\0name=x\0"s);
    ASSERT_TRUE(needs.ok());
    EXPECT_EQ(*needs, (std::vector<std::string>{"scsi_mod", "virtio_ring"}));
    const auto none = module_needs("\0depends=\0name=x\0"s);
    EXPECT_TRUE(none.ok() && none->empty());
    EXPECT_FALSE(module_needs("\0name=x\0"s).ok());
    EXPECT_EQ(module_name("lib/modules/6.1/kernel/virtio-rng.ko"), "virtio_rng");
}

}  // namespace
}  // namespace stoa::image
