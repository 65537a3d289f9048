#include "apps/demo/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace stoa::apps::demo {

namespace {

Error system_error(const std::string& what, int number) {
    return Error(ErrorCode::io, fmt::format("{}: {}", what, strerror(number)), number);
}

}  // namespace

Result<Child> Child::start(const std::vector<std::string>& words, Errors errors) {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) return system_error("cannot make a pipe", errno);
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    if (errors == Errors::join_output) {
        posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
    }
    pid_t pid = -1;
    const int failed =
        posix_spawn(&pid, words[0].c_str(), &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    if (failed != 0) {
        ::close(ends[0]);
        return system_error(words[0] + ": cannot start", failed);
    }
    return Child(pid, ends[0]);
}

Child::~Child() {
    kill();
    if (output_ >= 0) ::close(output_);
}

Result<size_t> Child::read(MutableBytes into) {
    size_t done = 0;
    while (done < into.size()) {
        const ssize_t got = ::read(output_, into.data() + done, into.size() - done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return system_error("cannot read what a child says", errno);
        if (got == 0) break;
        done += static_cast<size_t>(got);
    }
    return done;
}

void Child::kill() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
}

Result<int> Child::wait() {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0) {
        if (errno != EINTR) return system_error("cannot wait for a child", errno);
    }
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

Result<Finished> run_program(const std::vector<std::string>& words) {
    TRY_ASSIGN(Child child, Child::start(words, Child::Errors::join_output));
    Finished finished;
    std::array<char, 65536> buffer;
    for (;;) {
        TRY_ASSIGN(const size_t got, child.read(std::as_writable_bytes(std::span(buffer))));
        finished.output.append(buffer.data(), got);
        if (got < buffer.size()) break;
    }
    TRY_ASSIGN(finished.exit_code, child.wait());
    return finished;
}

}  // namespace stoa::apps::demo
