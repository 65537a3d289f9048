// Results and errors: what every operation that can fail for a reason outside the program returns.
//
// An Error is a code, a message and, where the system gave one, an errno. A code exists only if a
// caller reacts to it differently; the detail is in the message (house style in CONTRIBUTING.md).
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace stoa {

enum class ErrorCode : uint8_t {
    invalid_argument,  // the request itself is wrong; repeating it cannot help
    not_found,         // the named thing does not exist
    already_exists,    // the name or the identifier is taken
    in_use,            // somebody depends on it; the message says who
    no_space,          // the pool, device or table is full
    out_of_range,      // beyond the end of a volume or a limit
    read_only,         // the pool or volume accepts no changes
    corrupt,           // bytes contradict their checksum or their format
    io,                // the device failed
    unsupported,       // the format or the platform lacks it
    busy,              // owned by another process, or by a running task
    cancelled,         // given up because of a close, a disconnect or a request to stop
    needs_full,        // a difference cannot be computed; the caller must copy everything
    conflict,          // it was changed meanwhile; look again and repeat
    gone,              // what was to be continued is forgotten; begin anew
    timeout,           // no answer in time; it may have been done or not
    denied,            // who asks may not
};

std::string_view to_string(ErrorCode code);

class Error {
public:
    Error(ErrorCode code, std::string message, int system_errno = 0)
        : message_(std::move(message)), system_errno_(system_errno), code_(code) {}

    [[nodiscard]] ErrorCode code() const { return code_; }
    [[nodiscard]] const std::string& message() const { return message_; }
    // 0 when no system call was involved.
    [[nodiscard]] int system_errno() const { return system_errno_; }

    // Puts "context: " before the message; used once, by the layer that knows the name.
    [[nodiscard]] Error with_context(std::string_view context) const;

private:
    std::string message_;
    int system_errno_;
    ErrorCode code_;
};

template <class T = void>
class [[nodiscard]] Result {
public:
    Result(T value) : value_(std::move(value)) {}  // NOLINT(google-explicit-constructor)
    Result(Error error) : value_(std::unexpected(std::move(error))) {}  // NOLINT

    [[nodiscard]] bool ok() const { return value_.has_value(); }
    explicit operator bool() const { return ok(); }
    [[nodiscard]] const Error& error() const { return value_.error(); }
    [[nodiscard]] Error take_error() { return std::move(value_.error()); }

    T& operator*() & { return *value_; }
    const T& operator*() const& { return *value_; }
    T&& operator*() && { return *std::move(value_); }
    T* operator->() { return &*value_; }
    const T* operator->() const { return &*value_; }

private:
    std::expected<T, Error> value_;
};

template <>
class [[nodiscard]] Result<void> {
public:
    Result() = default;
    Result(Error error) : value_(std::unexpected(std::move(error))) {}  // NOLINT

    [[nodiscard]] bool ok() const { return value_.has_value(); }
    explicit operator bool() const { return ok(); }
    [[nodiscard]] const Error& error() const { return value_.error(); }
    [[nodiscard]] Error take_error() { return std::move(value_.error()); }

private:
    std::expected<void, Error> value_;
};

}  // namespace stoa

#define STOA_CONCAT_INNER(a, b) a##b
#define STOA_CONCAT(a, b) STOA_CONCAT_INNER(a, b)

// TRY(expression): returns the error of a Result<void> from the enclosing function.
#define TRY(expression)                                       \
    do {                                                      \
        auto try_result = (expression);                       \
        if (!try_result.ok()) return try_result.take_error(); \
    } while (false)

// TRY_ASSIGN(auto x, expression): the value, or returns the error.
#define TRY_ASSIGN(target, expression)                         \
    auto STOA_CONCAT(try_value_, __LINE__) = (expression);     \
    if (!STOA_CONCAT(try_value_, __LINE__).ok())               \
        return STOA_CONCAT(try_value_, __LINE__).take_error(); \
    target = *std::move(STOA_CONCAT(try_value_, __LINE__))

// The same inside a coroutine; the expression usually contains co_await.
#define CO_TRY(expression)                                       \
    do {                                                         \
        auto try_result = (expression);                          \
        if (!try_result.ok()) co_return try_result.take_error(); \
    } while (false)

#define CO_TRY_ASSIGN(target, expression)                         \
    auto STOA_CONCAT(try_value_, __LINE__) = (expression);        \
    if (!STOA_CONCAT(try_value_, __LINE__).ok())                  \
        co_return STOA_CONCAT(try_value_, __LINE__).take_error(); \
    target = *std::move(STOA_CONCAT(try_value_, __LINE__))
