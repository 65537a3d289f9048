#include "apps/stoa/terminal.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <iostream>

#include "base/output.h"

namespace stoa::cli {

namespace {

constexpr size_t kWidthMax = 1000;

size_t width_of_terminal(int descriptor) {
    if (::isatty(descriptor) == 0) return 0;
    if (const char* columns = std::getenv("COLUMNS")) {
        size_t width = 0;
        std::from_chars(columns, columns + std::strlen(columns), width);
        if (width > 0 && width <= kWidthMax) return width;
    }
    winsize size{};
    if (::ioctl(descriptor, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
    return size.ws_col;
}

}  // namespace

struct RawTerminal::Saved {
    termios settings{};
};

bool output_is_terminal() { return ::isatty(STDOUT_FILENO) != 0; }
bool errors_are_terminal() { return ::isatty(STDERR_FILENO) != 0; }
bool can_ask() { return ::isatty(STDIN_FILENO) != 0 && errors_are_terminal(); }
size_t output_width() { return width_of_terminal(STDOUT_FILENO); }
size_t errors_width() { return width_of_terminal(STDERR_FILENO); }

bool ask(std::string_view question) {
    print_error("{} [y/N] ", question);
    const Result<std::string> line = read_line();
    return line.ok() && !line->empty() && ((*line)[0] == 'y' || (*line)[0] == 'Y');
}

Result<std::string> read_line() {
    std::string line;
    if (!std::getline(std::cin, line)) {
        return Error(ErrorCode::invalid_argument, "standard input ended");
    }
    if (line.ends_with('\r')) line.pop_back();
    return line;
}

Result<std::string> ask_secret(std::string_view question) {
    if (!can_ask()) {
        return Error(ErrorCode::invalid_argument,
                     "nobody can be asked for a password here: give it on standard input with "
                     "--password-stdin");
    }
    termios before{};
    if (::tcgetattr(STDIN_FILENO, &before) != 0) {
        return Error(ErrorCode::io, "terminal: cannot be read");
    }
    // Ctrl-C ends the read; the terminal must get its echo back before the program ends.
    struct sigaction quiet{};
    struct sigaction usual{};
    quiet.sa_handler = [](int /*number*/) {};
    ::sigaction(SIGINT, &quiet, &usual);
    termios silent = before;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
    // Not before: what is typed at once must not be seen.
    print_error("{}: ", question);
    Result<std::string> line = read_line();
    ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    ::sigaction(SIGINT, &usual, nullptr);
    print_error("\n");
    if (!line.ok()) return Error(ErrorCode::cancelled, "interrupted");
    return line;
}

RawTerminal::RawTerminal(std::unique_ptr<Saved> saved) : saved_(std::move(saved)) {}

std::unique_ptr<RawTerminal> RawTerminal::enter() {
    auto saved = std::make_unique<Saved>();
    if (::tcgetattr(STDIN_FILENO, &saved->settings) != 0) return nullptr;
    termios raw = saved->settings;
    ::cfmakeraw(&raw);
    if (::tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) != 0) return nullptr;
    return std::unique_ptr<RawTerminal>(new RawTerminal(std::move(saved)));
}

RawTerminal::~RawTerminal() { ::tcsetattr(STDIN_FILENO, TCSADRAIN, &saved_->settings); }

}  // namespace stoa::cli
