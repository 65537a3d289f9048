// Any bytes as a line: never more than a refusal, and what is accepted is written the same again.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "controlplane/journal/line.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string_view line(reinterpret_cast<const char*>(data), size);
    static_cast<void>(stoa::journal::read_line(line));
    // Behind a right checksum, which a fuzzer does not find.
    stoa::journal::Entry entry;
    entry.sequence = size;
    entry.subject = line.substr(0, line.size() / 3);
    entry.text = line.substr(line.size() / 3);
    stoa::journal::trim(entry);
    std::string written = stoa::journal::to_line(entry);
    written.pop_back();
    CHECK(written.find('\n') == std::string::npos);
    const auto again = stoa::journal::read_line(written);
    CHECK(again && again->subject == entry.subject && again->text == entry.text);
    return 0;
}
