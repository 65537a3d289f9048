// What a struct says of its fields, as JSON and back.
#include "base/describe.h"

#include <array>
#include <limits>

#include <gtest/gtest.h>

namespace stoa {
namespace {

enum class Access : uint8_t { read, write };
constexpr std::array<std::string_view, 2> enum_names(Access /*unused*/) {
    return {"read", "write"};
}

struct Disk {
    std::string path;
    uint64_t size_bytes = 4096;
    static constexpr auto fields() {
        return std::tuple(required("path", &Disk::path, "where it lies"),
                          optional("size_bytes", &Disk::size_bytes, "how big it is"));
    }
};

struct Machine {
    Uuid id;
    std::vector<Disk> disks;
    std::optional<int32_t> shift;
    Access access = Access::read;
    bool on = false;
    double load = 0;
    std::map<std::string, uint32_t> counts;
    static constexpr auto fields() {
        return std::tuple(required("id", &Machine::id, ""), optional("disks", &Machine::disks, ""),
                          optional("shift", &Machine::shift, ""),
                          optional("access", &Machine::access, ""),
                          optional("on", &Machine::on, ""), optional("load", &Machine::load, ""),
                          optional("counts", &Machine::counts, ""));
    }
};

constexpr std::string_view kId = "00000001-0002-4003-8004-000000000005";

Result<Machine> read(std::string_view text) {
    TRY_ASSIGN(const Json json, parse_json(text));
    Machine machine;
    TRY(from_json(json, machine));
    return machine;
}

// The message that reading a machine with `fields` besides its id ends with.
std::string refusal(const std::string& fields) {
    const auto machine = read(fmt::format(R"({{"id":"{}",{}}})", kId, fields));
    return machine.ok() ? "accepted" : machine.error().message();
}

TEST(DescribeTest, a_struct_comes_back_from_its_json) {
    const std::string text = fmt::format(
        R"({{"id":"{}","disks":[{{"path":"/a","size_bytes":18446744073709551615}}],"shift":-3,)"
        R"("access":"write","on":true,"load":2.5E-1,"counts":{{"a":1,"b":4294967295}}}})",
        kId);
    const auto machine = read(text);
    ASSERT_TRUE(machine.ok()) << machine.error().message();
    EXPECT_EQ(machine->disks.at(0).size_bytes, std::numeric_limits<uint64_t>::max());
    EXPECT_EQ(machine->shift, -3);
    EXPECT_EQ(machine->access, Access::write);
    EXPECT_EQ(machine->counts.at("b"), 4294967295U);
    EXPECT_EQ(to_text(to_json(*machine)), text);
}

TEST(DescribeTest, what_is_left_out_keeps_its_default) {
    const auto machine = read(fmt::format(R"({{"id":"{}","disks":[{{"path":"x"}}]}})", kId));
    ASSERT_TRUE(machine.ok());
    EXPECT_EQ(machine->disks.at(0).size_bytes, 4096U);
    EXPECT_FALSE(machine->shift.has_value());
    EXPECT_EQ(to_text(to_json(*machine)),
              fmt::format(R"({{"id":"{}","disks":[{{"path":"x","size_bytes":4096}}],)"
                          R"("access":"read","on":false,"load":0E0,"counts":{{}}}})",
                          kId));
}

TEST(DescribeTest, an_error_names_the_field_the_value_and_what_is_possible) {
    EXPECT_EQ(refusal(R"("onn":true)"),
              "unknown field \"onn\"; possible here: id, disks, shift, access, on, load, counts");
    EXPECT_EQ(refusal(R"("disks":[{"path":"a"},{"size_bytes":1}])"),
              "\"disks[2].path\" is missing");
    EXPECT_EQ(refusal(R"("access":"admin")"),
              "\"access\" must be one of read, write, not \"admin\"");
    EXPECT_EQ(refusal(R"("shift":2147483648)"),
              "\"shift\" must be a whole number from -2147483648 to 2147483647, not 2147483648");
    EXPECT_EQ(refusal(R"("counts":{"a":-1})"),
              "\"counts.a\" must be a whole number from 0 to 4294967295, not -1");
    EXPECT_EQ(refusal(R"("on":1)"), "\"on\" must be true or false, not 1");
    EXPECT_EQ(refusal(R"("disks":{})"), "\"disks\" must be an array, not an object");
    EXPECT_EQ(refusal(R"("load":"high")"), "\"load\" must be a number, not \"high\"");
    EXPECT_EQ(read(R"({"id":"00000000-0000-0000-0000-000000000000"})").error().message(),
              "\"id\" must be a UUID other than the nil one, not "
              "\"00000000-0000-0000-0000-000000000000\"");
    EXPECT_EQ(read(R"({"id":"1"})").error().message(), "\"id\" must be a UUID, not \"1\"");
    EXPECT_EQ(read("[]").error().message(), "the parameters must be an object, not an array");
    EXPECT_EQ(read("{}").error().message(), "\"id\" is missing");
}

TEST(JsonTest, refuses_what_is_not_one_document) {
    for (const char* bad : {"", "{", "{}x", "{\"a\":01}", "nul", "\"\xFF\"", "[1,]", "\"\\ud800\"",
                            "[1e400]", "{\"a\":[-1e99999]}"}) {
        EXPECT_EQ(parse_json(bad).error().code(), ErrorCode::invalid_argument) << bad;
    }
    EXPECT_FALSE(parse_json(std::string(100, '[')).ok());
    EXPECT_EQ(parse_json("{} {}").error().message(), "JSON: extra data at byte 3 of 5");
}

TEST(JsonTest, is_always_utf8) {
    EXPECT_EQ(to_text(Json{{"tags", "a\xFFz"}}), "{\"tags\":\"a\xEF\xBF\xBDz\"}");
    EXPECT_EQ(to_pretty_text(Json("\xC3")), "\"\xEF\xBF\xBD\"");
}

TEST(JsonTest, is_indented_for_people) {
    EXPECT_EQ(to_pretty_text(*parse_json(R"({"a":[1,{"b":[]}],"c":{}})")),
              "{\n  \"a\": [\n    1,\n    {\n      \"b\": []\n    }\n  ],\n  \"c\": {}\n}");
}

}  // namespace
}  // namespace stoa
