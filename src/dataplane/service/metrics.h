// Prometheus text exposition (prometheus.io/docs/instrumenting/exposition_formats, version 0.0.4).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dataplane/serve/nbd/counters.h"

namespace stoa::service {

// Collects samples and writes them family by family.
class Metrics {
public:
    using Labels = std::vector<std::pair<std::string_view, std::string>>;

    // `name` of a counter ends in _total. `help` is one line.
    void counter(std::string_view name, std::string_view help, const Labels& labels,
                 uint64_t value);
    // A counter of time; it is told in seconds.
    void seconds(std::string_view name, std::string_view help, const Labels& labels,
                 uint64_t nanoseconds);
    void gauge(std::string_view name, std::string_view help, const Labels& labels, double value);
    // In seconds.
    void histogram(std::string_view name, std::string_view help, const Labels& labels,
                   const nbd::LatencyHistogram& values);

    [[nodiscard]] std::string text() const;

private:
    struct Family {
        std::string type;
        std::string help;
        std::string samples;
    };
    std::string& samples(std::string_view name, std::string_view type, std::string_view help);
    std::map<std::string, Family, std::less<>> families_;
};

}  // namespace stoa::service
