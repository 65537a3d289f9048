// Any bytes from a guest's agent: lines are found, parsed or refused, and nothing of them is
// printed raw; base64 goes back and forth.
#include <algorithm>
#include <cstdlib>

#include "base/base64.h"
#include "controlplane/qemu/agent_message.h"
#include "controlplane/qemu/line_buffer.h"

using namespace stoa;
using namespace stoa::qemu;

namespace {
constexpr size_t kLineMax = 256;
constexpr size_t kPart = 7;

bool is_clean(std::string_view text) {
    return std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; });
}

void take(std::string_view line) {
    const auto answer = parse_agent(line);
    const Error* error = nullptr;
    if (!answer.ok()) error = &answer.error();
    if (answer.ok() && !answer->result.ok()) error = &answer->result.error();
    if (error != nullptr && !is_clean(error->message())) std::abort();
    if (is_sync(line, 1) && !answer.ok()) std::abort();
    const auto bytes = from_base64(line);
    if (bytes.ok() && to_base64(*bytes).size() != line.size()) std::abort();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto back = from_base64(to_base64(text));
    if (!back.ok() || *back != text) std::abort();
    LineBuffer buffer({.line_bytes_max = kLineMax, .starts_anew_at_ff = true});
    while (!text.empty()) {
        buffer.add(text.substr(0, kPart));
        text.remove_prefix(std::min(kPart, text.size()));
        while (const auto line = buffer.next()) {
            if (!line->ok()) continue;
            if ((*line)->size() > kLineMax || (*line)->contains('\xff')) std::abort();
            take(**line);
        }
    }
    return 0;
}
