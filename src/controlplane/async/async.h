// The control plane's coroutines: Boost.Asio awaitables that end with a Result.
//
// All objects of the control plane live on one thread's io_context, except what says otherwise.
// Library operations are awaited with kAwait, which gives (error_code, value) instead of throwing.
// Whoever is cancelled learns it from the operation that he awaits: Scope and within() see to it
// that nothing throws.
#pragma once

#include <string_view>
#include <tuple>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/error_code.hpp>

#include "base/result.h"

namespace stoa {

namespace asio = boost::asio;

// Lazy: runs when awaited, on the executor of who awaits it. Awaited once.
template <class T = void>
using Async = asio::awaitable<Result<T>>;
using AsyncVoid = asio::awaitable<void>;

inline constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);

// An Error for what the system or the library says; `what` is put before it. Code: cancelled for
// operation_aborted, else io.
[[nodiscard]] Error failed(std::string_view what, const boost::system::error_code& code);

}  // namespace stoa
