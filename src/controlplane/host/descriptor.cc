#include "controlplane/host/descriptor.h"

#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <system_error>

namespace stoa::host {

void Descriptor::close() {
    if (number_ >= 0) ::close(std::exchange(number_, -1));
}

namespace {

ErrorCode code_of(int number) {
    switch (number) {
        case ENOENT:
        case ESRCH:
        case ENODEV:
        case ENXIO: return ErrorCode::not_found;
        case EEXIST: return ErrorCode::already_exists;
        case EACCES:
        case EPERM: return ErrorCode::denied;
        case ENOSPC:
        case EDQUOT: return ErrorCode::no_space;
        case EROFS: return ErrorCode::read_only;
        case EBUSY:
        case EAGAIN:
        case ETXTBSY: return ErrorCode::busy;
        case ENOSYS:
        case EOPNOTSUPP:
        case EAFNOSUPPORT:
        case EPROTONOSUPPORT: return ErrorCode::unsupported;
        case EINVAL:
        case ENAMETOOLONG:
        case ENOTDIR:
        case EISDIR:
        case ELOOP:
        case ERANGE:
        case E2BIG:
        case ENOEXEC: return ErrorCode::invalid_argument;
        default: return ErrorCode::io;
    }
}

}  // namespace

Error system_error(std::string_view what, int number) {
    std::string text = std::generic_category().message(number);
    if (!text.empty())
        text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
    return {code_of(number), std::string(what) + ": " + text, number};
}

}  // namespace stoa::host
