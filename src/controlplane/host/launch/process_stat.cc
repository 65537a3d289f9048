#include "controlplane/host/launch/process_stat.h"

#include <algorithm>
#include <charconv>
#include <vector>

namespace stoa::host {

namespace {

constexpr size_t kFieldsAfterName = 20;  // up to field 22

template <class T>
bool read_number(std::string_view text, T& into) {
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), into);
    return failed == std::errc() && end == text.data() + text.size();
}

Error no_stat() { return {ErrorCode::corrupt, "process status: not as proc(5) says"}; }

}  // namespace

Result<ProcessStat> parse_process_stat(std::string_view text) {
    // The name in parentheses may hold anything, parentheses too.
    const size_t after_name = text.rfind(')');
    if (after_name == std::string_view::npos || after_name + 2 >= text.size()) return no_stat();
    std::vector<std::string_view> fields;
    std::string_view rest = text.substr(after_name + 2);
    while (!rest.empty() && fields.size() < kFieldsAfterName) {
        const size_t end = std::min(rest.find_first_of(" \n"), rest.size());
        fields.push_back(rest.substr(0, end));
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    if (fields.size() < kFieldsAfterName || fields[0].size() != 1) return no_stat();
    ProcessStat stat;
    stat.state = fields[0][0];
    uint64_t user_ticks = 0;
    uint64_t system_ticks = 0;
    if (!read_number(fields[1], stat.parent) || !read_number(fields[11], user_ticks) ||
        !read_number(fields[12], system_ticks) || !read_number(fields[19], stat.start_ticks)) {
        return no_stat();
    }
    stat.cpu_ticks = user_ticks + system_ticks;
    return stat;
}

}  // namespace stoa::host
