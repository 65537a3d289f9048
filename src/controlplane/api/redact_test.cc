#include "controlplane/api/redact.h"

#include <gtest/gtest.h>

#include "base/describe.h"
#include "base/schema.h"

namespace stoa::api {
namespace {

struct Inner {
    std::string key;
    std::string note;
    static constexpr auto fields() {
        return std::tuple(secret("key", &Inner::key, ""), optional("note", &Inner::note, ""));
    }
};
struct Outer {
    std::string name;
    std::vector<Inner> list;
    std::map<std::string, Inner> map;
    std::optional<Inner> one;
    Json anything;
    static constexpr auto fields() {
        return std::tuple(optional("name", &Outer::name, ""), optional("list", &Outer::list, ""),
                          optional("map", &Outer::map, ""), optional("one", &Outer::one, ""),
                          optional("anything", &Outer::anything, ""));
    }
};

TEST(Redact, hides_secrets_wherever_they_are_and_what_is_unknown) {
    const Json body =
        *parse_json(R"({"name":"a","list":[{"key":"S1","note":"n"}],"map":{"x":{"key":"S2"}},)"
                    R"("one":{"key":"S3"},"anything":{"k":["v"]},"mistyped":"S4"})");
    EXPECT_EQ(to_text(redact(body, json_schema<Outer>())),
              R"({"name":"a","list":[{"key":"***","note":"n"}],"map":{"x":{"key":"***"}},)"
              R"("one":{"key":"***"},"anything":{"k":["v"]},"mistyped":"***"})");
}

TEST(Redact, hides_everything_of_a_body_without_schema) {
    EXPECT_EQ(to_text(redact(*parse_json(R"({"a":"S"})"), nullptr)), R"("***")");
    EXPECT_EQ(to_text(redact(*parse_json(R"({"list":{"key":"S"}})"), json_schema<Outer>())),
              R"({"list":{"key":"***"}})");
}

}  // namespace
}  // namespace stoa::api
