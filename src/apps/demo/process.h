// Child processes of the demo, known by their id, and ended with whoever owns them.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace stoa::apps::demo {

// A running program whose standard output is read here. The destructor kills and reaps it.
class Child {
public:
    enum class Errors : uint8_t { pass_through, join_output };

    // `words[0]` is the path of the program. Errors: io.
    static Result<Child> start(const std::vector<std::string>& words, Errors errors);
    Child(Child&& other) noexcept
        : pid_(std::exchange(other.pid_, -1)), output_(std::exchange(other.output_, -1)) {}
    Child& operator=(Child&&) = delete;
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    ~Child();

    [[nodiscard]] pid_t pid() const { return pid_; }
    // Fills `into`; less only at the end of the output. Errors: io.
    Result<size_t> read(MutableBytes into);
    // SIGKILL, and waits until the process is gone. Its output can still be read.
    void kill();
    // Waits for the end; the exit code, or 128 + the signal. Errors: io.
    Result<int> wait();

private:
    Child(pid_t pid, int output) : pid_(pid), output_(output) {}

    pid_t pid_;
    int output_;
};

struct Finished {
    int exit_code = 0;
    std::string output;  // both streams
};

// Runs a program to its end. Errors: io.
Result<Finished> run_program(const std::vector<std::string>& words);

}  // namespace stoa::apps::demo
