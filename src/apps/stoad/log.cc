#include "apps/stoad/log.h"

#include <cstdio>

#include <fmt/chrono.h>
#include <fmt/format.h>

namespace stoa::apps::stoad {

void log(const host::Clock& clock, Level level, std::string_view text, JsonObject fields) {
    static constexpr std::string_view kWords[] = {"info", "warning", "error"};
    const int64_t now_ns = clock.wall_ns();
    JsonObject line;
    line["time"] = fmt::format("{:%FT%T}.{:03}Z", fmt::gmtime(now_ns / 1'000'000'000),
                               now_ns / 1'000'000 % 1000);
    line["level"] = kWords[static_cast<size_t>(level)];
    line["text"] = text;
    for (auto& field : fields) line[field.key()] = std::move(field.value());
    const std::string bytes = to_text(line) + "\n";
    static_cast<void>(std::fwrite(bytes.data(), 1, bytes.size(), stderr));
    static_cast<void>(std::fflush(stderr));
}

}  // namespace stoa::apps::stoad
