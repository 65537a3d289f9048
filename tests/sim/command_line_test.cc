// The command line of stoa-sim: what is wrong is said, not passed over.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace stoa::simtest {
namespace {

class StoaSim : public testing::Test {
protected:
    void SetUp() override {
        const char* program = std::getenv("STOA_SIM");
        if (program == nullptr) GTEST_SKIP() << "STOA_SIM does not name the program";
        program_ = program;
    }
    // The exit code; what was said is in `output_`.
    int run(const std::string& arguments, const char* where = ">/dev/null") {
        output_.clear();
        FILE* pipe = popen((program_ + " " + arguments + " 2>&1 " + where).c_str(), "r");
        if (pipe == nullptr) return -1;
        std::array<char, 4096> buffer;
        while (const size_t got = fread(buffer.data(), 1, buffer.size(), pipe)) {
            output_.append(buffer.data(), got);
        }
        const int status = pclose(pipe);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
    void expect_refused(const std::string& arguments, const std::string& why) {
        EXPECT_EQ(run(arguments), 2) << arguments;
        EXPECT_EQ(output_.substr(0, output_.find('\n')), "stoa-sim: " + why);
    }

    std::string program_;
    std::string output_;
};

TEST_F(StoaSim, wrong_use_is_told) {
    expect_refused("", "nothing to do is given");
    expect_refused("seed 1", "unknown: seed");
    expect_refused("--seed 1 --sedes 5", "unknown: --sedes");
    expect_refused("--seed", "--seed needs a value");
    expect_refused("--seed x", "--seed x: not a number");
    expect_refused("--seed 1 --seeds 0", "--seeds 0: at least 1");
    expect_refused("--seed 1 --operations 0", "--operations 0: at least 1");
    expect_refused("--minutes 0", "--minutes 0: at least 1");
    expect_refused("--exhaustive 0", "--exhaustive 0: at least 1");
    expect_refused("--exhaustive 2 --shards 2 --shard 3", "--shard 3: there are 2");
    expect_refused("--seed 1 --seed 2", "--seed is given twice");
    expect_refused("--sequence all --seeds 3", "--seeds does not go with --sequence");
    expect_refused("--seeds 3", "nothing to do is given");
}

TEST_F(StoaSim, output_that_is_not_taken_is_a_failure) {
    for (const char* arguments : {"--help", "--version", "--seed 1 --operations 5"}) {
        EXPECT_EQ(run(arguments, ">/dev/full"), 1) << arguments;
        EXPECT_EQ(output_, "stoa-sim: the output cannot be written\n");
        EXPECT_EQ(run(arguments, ""), 0) << output_;
    }
    EXPECT_EQ(output_.find("1 seed, 5 operations, "), 0U) << output_;
}

}  // namespace
}  // namespace stoa::simtest
