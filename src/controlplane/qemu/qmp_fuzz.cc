// Any bytes from a QEMU: lines are found, parsed or refused, and nothing of them is printed raw.
#include <algorithm>
#include <cstdlib>
#include <variant>

#include "controlplane/qemu/line_buffer.h"
#include "controlplane/qemu/qmp_message.h"

using namespace stoa;
using namespace stoa::qemu;

namespace {
constexpr size_t kLineMax = 256;
constexpr size_t kPart = 7;

bool is_clean(std::string_view text) {
    return std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; });
}

void take(std::string_view line) {
    const auto message = parse_qmp(line);
    if (!message.ok()) {
        if (!is_clean(message.error().message())) std::abort();
        return;
    }
    const auto* answer = std::get_if<QmpAnswer>(&*message);
    const bool is_refusal = answer != nullptr && !answer->result.ok();
    if (is_refusal && !is_clean(answer->result.error().message())) std::abort();
    const auto* event = std::get_if<QmpEvent>(&*message);
    if (event != nullptr && (!event->data.is_object() || event->time_us < 0)) std::abort();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    std::string_view text(reinterpret_cast<const char*>(data), size);
    LineBuffer buffer({.line_bytes_max = kLineMax});
    while (!text.empty()) {
        buffer.add(text.substr(0, kPart));
        text.remove_prefix(std::min(kPart, text.size()));
        while (const auto line = buffer.next()) {
            if (line->ok() && (*line)->size() > kLineMax) std::abort();
            if (line->ok()) take(**line);
        }
    }
    return 0;
}
