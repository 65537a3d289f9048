#include "dataplane/io/system_error.h"

#include <cctype>
#include <cerrno>
#include <cstring>

namespace stoa::io {

std::string errno_text(int system_errno) {
    const char* known = strerrordesc_np(system_errno);
    if (known == nullptr) return "error " + std::to_string(system_errno);
    std::string text = known;
    if (!text.empty()) text[0] = static_cast<char>(std::tolower(text[0]));
    return text;
}

Error system_error(std::string_view what, int system_errno) {
    ErrorCode code = ErrorCode::io;
    switch (system_errno) {
        case ENOENT: code = ErrorCode::not_found; break;
        case EEXIST: code = ErrorCode::already_exists; break;
        case ENOSPC:
        case EDQUOT: code = ErrorCode::no_space; break;
        case EROFS: code = ErrorCode::read_only; break;
        default: break;
    }
    std::string message(what);
    message += ": ";
    message += errno_text(system_errno);
    return {code, std::move(message), system_errno};
}

Error failed_io(std::string_view what, int system_errno) {
    return {ErrorCode::io, system_error(what, system_errno).message(), system_errno};
}

}  // namespace stoa::io
