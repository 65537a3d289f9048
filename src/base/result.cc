#include "base/result.h"

namespace stoa {

std::string_view to_string(ErrorCode code) {
    switch (code) {
        case ErrorCode::invalid_argument: return "invalid argument";
        case ErrorCode::not_found: return "not found";
        case ErrorCode::already_exists: return "already exists";
        case ErrorCode::in_use: return "in use";
        case ErrorCode::no_space: return "no space";
        case ErrorCode::out_of_range: return "out of range";
        case ErrorCode::read_only: return "read-only";
        case ErrorCode::corrupt: return "corrupt";
        case ErrorCode::io: return "device error";
        case ErrorCode::unsupported: return "unsupported";
        case ErrorCode::busy: return "busy";
        case ErrorCode::cancelled: return "cancelled";
        case ErrorCode::needs_full: return "full copy needed";
        case ErrorCode::conflict: return "changed meanwhile";
        case ErrorCode::gone: return "gone";
        case ErrorCode::timeout: return "timeout";
        case ErrorCode::denied: return "denied";
    }
    return "unknown";
}

Error Error::with_context(std::string_view context) const {
    std::string text(context);
    text += ": ";
    text += message_;
    return {code_, std::move(text), system_errno_};
}

}  // namespace stoa
