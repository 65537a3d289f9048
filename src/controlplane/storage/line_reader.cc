#include "controlplane/storage/line_reader.h"

#include <fmt/format.h>

namespace stoa::storage {

Result<void> LineReader::too_long() const {
    return Error(ErrorCode::out_of_range,
                 fmt::format("a message has more than {} bytes", line_bytes_max_));
}

}  // namespace stoa::storage
