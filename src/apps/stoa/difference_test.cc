#include "apps/stoa/difference.h"

#include <gtest/gtest.h>

namespace stoa::cli {
namespace {

const Json kVm = *parse_json(R"({
    "kind":"vm","name":"web1","labels":{"a":"b"},"revision":"7",
    "spec":{"cpus":2,"memory_bytes":1024,"restart":{"on_crash":"restart","attempts_max":5},
            "disks":[{"name":"root","volume":"v1"}],"nics":[{"name":"eth0"}],"power":"on"}})");
const JsonArray kVolumes{*parse_json(R"({"id":"v1","spec":{"size_bytes":100}})")};

std::string patch_of(const char* document) {
    return to_text(difference("vm", kVm, parse_json(document)->get_object(), kVolumes).patch);
}

TEST(Difference, of_what_is_so_already_is_nothing) {
    EXPECT_EQ(to_text(difference("vm", kVm, kVm.get_object(), kVolumes).patch), "{}");
    EXPECT_EQ(patch_of(R"({"name":"web1","cpus":2,"image":"tiny","start":true})"), "{}");
    EXPECT_EQ(patch_of(R"({"restart":{"attempts_max":5}})"), "{}");
}

TEST(Difference, keeps_what_is_not_said) {
    EXPECT_EQ(patch_of(R"({"restart":{"attempts_max":9}})"),
              R"({"restart":{"on_crash":"restart","attempts_max":9}})");
    EXPECT_EQ(patch_of(R"({"labels":{"c":"d"}})"), R"({"labels":{"c":"d"}})");
}

TEST(Difference, of_disks_is_by_name) {
    EXPECT_EQ(
        patch_of(R"({"disks":[{"name":"root","size_bytes":200},{"name":"b","size_bytes":1}]})"),
        R"({"grow_disks":{"root":200},"add_disks":[{"name":"b","size_bytes":1}]})");
    // A request to create does not name the disk of its image, a specification names all.
    EXPECT_EQ(patch_of(R"({"nics":[{"name":"eth1","network":"n"}]})"),
              R"({"add_nics":[{"name":"eth1","network":"n"}]})");
    EXPECT_EQ(patch_of(R"({"spec":{"nics":[]}})"), R"({"remove_nics":["eth0"]})");
}

}  // namespace
}  // namespace stoa::cli
