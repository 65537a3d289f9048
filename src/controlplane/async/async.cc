#include "controlplane/async/async.h"

#include <fmt/format.h>
#include <boost/asio/error.hpp>

namespace stoa {

Error failed(std::string_view what, const boost::system::error_code& code) {
    const bool cancelled = code == asio::error::operation_aborted;
    const bool of_system = code.category() == boost::system::system_category();
    return {cancelled ? ErrorCode::cancelled : ErrorCode::io,
            fmt::format("{}: {}", what, code.message()), of_system ? code.value() : 0};
}

}  // namespace stoa
