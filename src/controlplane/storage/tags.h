// What a volume's tags say in the pool: whose it is. "vm=ID", "image=ID", divided by spaces.
#pragma once

#include <string>
#include <string_view>

#include "controlplane/model/record.h"

namespace stoa::storage {

// Of labels kVmLabel and kImageLabel that are ids; at most 192 bytes.
[[nodiscard]] std::string tags_of(const model::Labels& labels);
// What is not understood is passed over.
[[nodiscard]] model::Labels labels_of(std::string_view tags);

}  // namespace stoa::storage
