#include "controlplane/task/record_step.h"

#include <fmt/format.h>

namespace stoa::task {

namespace {

struct Arguments {
    Uuid id;
    static constexpr auto fields() {
        return std::tuple(required("id", &Arguments::id, "of the record"));
    }
};

}  // namespace

Result<Uuid> id_argument(const model::Step& step) {
    Arguments arguments;
    TRY(from_json(step.arguments, arguments, step.type));
    return arguments.id;
}

Json id_arguments(const Uuid& id) { return to_json(Arguments{id}); }

}  // namespace stoa::task
