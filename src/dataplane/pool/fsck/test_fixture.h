// What the tests of fsck share: a pool with a family of volumes, and expectations of a report.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "dataplane/pool/fsck/test_pool.h"

namespace stoa::fsck::test {

inline std::string all(const Report& report) {
    std::string text;
    for (const auto& line : report.problems) text += "problem: " + line + "\n";
    for (const auto& line : report.repairable) text += "repairable: " + line + "\n";
    for (const auto& line : report.notes) text += "note: " + line + "\n";
    return text;
}

inline void expect_problem(const Report& report, std::string_view part) {
    for (const auto& line : report.problems) {
        if (line.find(part) != std::string::npos) return;
    }
    ADD_FAILURE() << "no problem says \"" << part << "\":\n" << all(report);
}

inline void expect_repairable(const Report& report, std::string_view part) {
    EXPECT_EQ(report.problem_count, 0u) << all(report);
    for (const auto& line : report.repairable) {
        if (line.find(part) != std::string::npos) return;
    }
    ADD_FAILURE() << "nothing repairable says \"" << part << "\":\n" << all(report);
}

// A pool with the family; `change` alters the objects before they are written.
struct Fixture {
    explicit Fixture(size_t devices = 1) : pool(devices), family(put_family(pool)) {}
    Report check(Options options = {}) {
        pool.put_objects(family.objects, 9);
        pool.seal();
        return pool.check(options);
    }
    TestPool pool;
    Family family;
};

}  // namespace stoa::fsck::test
