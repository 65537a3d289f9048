// Metrics in the text format of Prometheus (version 0.0.4), and those of the API itself.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

namespace stoa::http {

// Puts a text together. Samples of one metric belong together.
class MetricsText {
public:
    // `type`: counter, gauge or histogram.
    void family(std::string_view name, std::string_view type, std::string_view help);
    // `name` with its suffix, if it has one. Values of labels are escaped.
    void sample(std::string_view name,
                std::span<const std::pair<std::string_view, std::string_view>> labels,
                double value);
    void sample(std::string_view name, double value) { sample(name, {}, value); }
    [[nodiscard]] const std::string& text() const { return text_; }

private:
    std::string text_;
};

// Requests by route and status, and how long they took. One thread.
class RequestMetrics {
public:
    static constexpr std::array<double, 11> kBoundsSeconds{
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 10};
    // `route`: "GET /v1/vms/{vm}", one of the table, or "" for what matched none.
    void observe(const std::string& route, uint32_t status, double seconds);
    // stoa_http_requests_total, stoa_http_request_seconds.
    void write(MetricsText& text) const;

private:
    struct Latency {
        std::array<uint64_t, kBoundsSeconds.size() + 1> buckets{};
        double sum_seconds = 0;
    };
    std::map<std::pair<std::string, uint32_t>, uint64_t> requests_;
    std::map<std::string, Latency> latencies_;
};

}  // namespace stoa::http
