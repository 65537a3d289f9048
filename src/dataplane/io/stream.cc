#include "dataplane/io/stream.h"

namespace stoa::io {

Task<Result<void>> read_exactly(Stream& stream, MutableBytes into) {
    while (!into.empty()) {
        CO_TRY_ASSIGN(const size_t got, co_await stream.read_some(into));
        if (got == 0) co_return Error(ErrorCode::io, stream.peer() + " has hung up");
        into = into.subspan(got);
    }
    co_return Result<void>{};
}

Task<Result<void>> write_all(Stream& stream, ConstBytes from) {
    ConstBytes part = from;
    co_return co_await stream.write({&part, 1});
}

}  // namespace stoa::io
