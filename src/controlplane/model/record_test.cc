#include "controlplane/model/record.h"

#include <gtest/gtest.h>

#include "base/schema.h"
#include "controlplane/model/access_requests.h"
#include "controlplane/model/image_requests.h"
#include "controlplane/model/network_requests.h"
#include "controlplane/model/storage.h"
#include "controlplane/model/storage_requests.h"
#include "controlplane/model/vm.h"
#include "controlplane/model/vm_requests.h"

namespace stoa::model {
namespace {

Uuid numbered(uint64_t number) { return Uuid::from_random(number, number); }

TEST(Name, is_a_dns_label_that_is_no_id) {
    for (const char* name : {"a", "web1", "0", "a-b", "xn--abc"}) {
        EXPECT_TRUE(check_name(name).ok()) << name;
    }
    EXPECT_TRUE(check_name(std::string(kNameBytesMax, 'n')).ok());
    for (const std::string& name :
         {std::string(), std::string("-a"), std::string("a-"), std::string("Web"),
          std::string("a.b"), std::string("a/b"), std::string("a~b"), std::string("ü"),
          std::string("a b"), std::string("a\0b", 3), std::string(kNameBytesMax + 1, 'n'),
          std::string("0192ab34-0000-7000-8000-000000000001")}) {
        EXPECT_FALSE(check_name(name).ok()) << name;
    }
}

TEST(Name, is_divided_from_its_scope_at_the_last_mark) {
    EXPECT_EQ(split_name("web").scope, "");
    EXPECT_EQ(split_name("web").name, "web");
    EXPECT_EQ(split_name("fast/db").scope, "fast");
    EXPECT_EQ(split_name("fast~db@monday").scope, "fast~db");
    EXPECT_EQ(split_name("fast~db@monday").name, "monday");
    EXPECT_EQ(split_name("/").name, "");
}

TEST(Name, is_unique_within_its_scope) {
    EXPECT_EQ(unique_name<Vm>({}, "web"), "web");
    VolumeSpec volume;
    volume.pool = numbered(1);
    EXPECT_EQ(unique_name<Volume>(volume, "db"), numbered(1).to_string() + "/db");
    SnapshotSpec snapshot;
    snapshot.parts = {{numbered(2), numbered(3)}};
    EXPECT_EQ(unique_name<Snapshot>(snapshot, "m"), numbered(2).to_string() + "/m");
    snapshot.vm = numbered(4);
    EXPECT_EQ(unique_name<Snapshot>(snapshot, "m"), numbered(4).to_string() + "/m");
}

TEST(Labels, are_words_and_lines) {
    EXPECT_TRUE(check_labels({{"tier", "front end"}, {"example.org/Owner_1", ""}}).ok());
    for (const Labels& labels :
         {Labels{{"", "x"}}, Labels{{"a b", "x"}}, Labels{{"/a", "x"}}, Labels{{"a/", "x"}},
          Labels{{"a/b/c", "x"}}, Labels{{"a", "x\ny"}}, Labels{{"a", "\xff"}},
          Labels{{std::string(kLabelBytesMax + 1, 'a'), "x"}},
          Labels{{"a", std::string(kLabelBytesMax + 1, 'x')}}}) {
        EXPECT_FALSE(check_labels(labels).ok());
    }
    Labels many;
    for (size_t i = 0; i <= kLabelsMax; ++i) many["k" + std::to_string(i)] = "";
    EXPECT_FALSE(check_labels(many).ok());
}

TEST(Id, is_a_uuid_of_version_7_in_the_order_of_time) {
    constexpr int64_t kMs = 1'000'000;
    const Uuid id = make_id(0x0192ab34cdef * kMs, ~uint64_t{0}, ~uint64_t{0});
    EXPECT_EQ(id.to_string(), "0192ab34-cdef-7fff-bfff-ffffffffffff");
    EXPECT_LT(make_id(1000 * kMs, ~uint64_t{0}, 5), make_id(1001 * kMs, 0, 0));
}

TEST(Keys, are_paths_of_the_kind) {
    const std::string id = numbered(1).to_string();
    EXPECT_EQ(spec_key("vm", numbered(1)), "/vm/spec/" + id);
    EXPECT_EQ(status_key("vm", numbered(1)), "/vm/status/" + id);
    EXPECT_EQ(name_key("vm", "web1"), "/vm/name/web1");
}

TEST(Record, goes_to_json_and_back) {
    Record<Vm> vm;
    vm.id = numbered(1);
    vm.name = "web1";
    vm.labels = {{"a", "b"}};
    vm.revision = "x.7";
    vm.spec.disks.resize(1);
    vm.spec.disks[0].volume = numbered(2);
    vm.status.launch.emplace();
    vm.status.launch->spec = vm.spec;
    const Json json = to_json(vm);
    EXPECT_EQ(json.at("kind"), Json("vm"));
    Record<Vm> back;
    ASSERT_TRUE(from_json(json, back).ok());
    EXPECT_EQ(to_json(back), json);
}

TEST(Record, only_what_may_be_shown_can_be_read) {
    // A password is taken and never given out: the schema says so.
    const Json schema = json_schema<UserCreate>();
    EXPECT_EQ(schema.at("properties").at("password").at("writeOnly"), Json(true));
}

template <class T>
void expect_unknown_fields_are_refused() {
    T request;
    const Result<void> read = from_json(Json(JsonObject{{"surprise", 1}}), request);
    ASSERT_FALSE(read.ok());
}

TEST(Requests, unknown_fields_are_refused) {
    expect_unknown_fields_are_refused<PoolCreate>();
    expect_unknown_fields_are_refused<VolumeSet>();
    expect_unknown_fields_are_refused<SnapshotRollback>();
    expect_unknown_fields_are_refused<NetworkSet>();
    expect_unknown_fields_are_refused<TokenCreate>();
    expect_unknown_fields_are_refused<ImageImport>();
    expect_unknown_fields_are_refused<VmSet>();
}

}  // namespace
}  // namespace stoa::model
