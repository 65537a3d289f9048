#include "base/schema.h"

#include <array>
#include <map>
#include <optional>
#include <vector>

#include <gtest/gtest.h>

namespace stoa {
namespace {

enum class Mode : uint8_t { slow, fast };
constexpr std::array<std::string_view, 2> enum_names(Mode /*type*/) { return {"slow", "fast"}; }

struct Inner {
    uint32_t port = 0;
    static constexpr auto fields() {
        return std::tuple(required("port", &Inner::port, "of the server"));
    }
};

struct Outer {
    std::string name;
    Uuid id;
    Mode mode = Mode::fast;
    bool on = true;
    int64_t shift = -3;
    uint64_t bytes = 0;
    double rate = 0.5;
    std::string password;
    std::optional<Uuid> parent;
    std::optional<Mode> next;
    std::vector<Inner> inners;
    std::map<std::string, std::string> labels;
    Json any;
    Inner inner;
    static constexpr auto fields() {
        return std::tuple(
            required("name", &Outer::name, "what it is called"), required("id", &Outer::id, ""),
            optional("mode", &Outer::mode, ""), optional("on", &Outer::on, ""),
            optional("shift", &Outer::shift, ""), optional("bytes", &Outer::bytes, ""),
            optional("rate", &Outer::rate, ""), secret("password", &Outer::password, "of its user"),
            optional("parent", &Outer::parent, ""), optional("next", &Outer::next, ""),
            optional("inners", &Outer::inners, ""), optional("labels", &Outer::labels, ""),
            optional("any", &Outer::any, "whatever"), optional("inner", &Outer::inner, ""));
    }
};

Json schema_of_field(std::string_view name) {
    return json_schema<Outer>().at("properties").at(name);
}
Json json(std::string_view text) { return *parse_json(text); }

TEST(Schema, a_struct_has_its_fields_and_nothing_else) {
    const Json schema = json_schema<Outer>();
    EXPECT_EQ(schema.at("type"), Json("object"));
    EXPECT_EQ(schema.at("additionalProperties"), Json(false));
    EXPECT_EQ(schema.at("required"), json(R"(["name","id"])"));
    EXPECT_EQ(schema.at("properties").get_object().size(), 14);
    EXPECT_FALSE(schema_of_field("inner").get_object().empty());
}

TEST(Schema, types_carry_their_ranges) {
    EXPECT_EQ(schema_of_field("id"), json(R"({"type":"string","format":"uuid"})"));
    EXPECT_EQ(schema_of_field("on"), json(R"({"type":"boolean","default":true})"));
    EXPECT_EQ(schema_of_field("bytes"), json(R"({"type":"integer","format":"uint64","minimum":0,
                       "maximum":18446744073709551615,"default":0})"));
    EXPECT_EQ(schema_of_field("shift"),
              json(R"({"type":"integer","format":"int64","minimum":-9223372036854775808,
                       "maximum":9223372036854775807,"default":-3})"));
    EXPECT_EQ(schema_of_field("rate"),
              json(R"({"type":"number","format":"double","default":0.5})"));
    EXPECT_EQ(schema_of_field("inners").at("items").at("properties").at("port").at("maximum"),
              Json(uint64_t{4294967295}));
}

TEST(Schema, an_enum_is_its_words) {
    EXPECT_EQ(schema_of_field("mode"),
              json(R"({"type":"string","enum":["slow","fast"],"default":"fast"})"));
    EXPECT_EQ(schema_of_field("next"), json(R"({"type":"string","enum":["slow","fast"]})"));
}

TEST(Schema, help_is_the_description_and_a_secret_is_write_only) {
    EXPECT_EQ(schema_of_field("name").at("description"), Json("what it is called"));
    EXPECT_FALSE(schema_of_field("name").get_object().contains("writeOnly"));
    EXPECT_EQ(schema_of_field("password"),
              json(R"({"type":"string","description":"of its user","writeOnly":true})"));
}

TEST(Schema, maps_and_anything) {
    EXPECT_EQ(schema_of_field("labels"),
              json(R"({"type":"object","additionalProperties":{"type":"string"}})"));
    EXPECT_EQ(schema_of_field("any"), json(R"({"description":"whatever"})"));
    EXPECT_EQ(json_schema<std::vector<std::string>>(),
              json(R"({"type":"array","items":{"type":"string"}})"));
}

}  // namespace
}  // namespace stoa
