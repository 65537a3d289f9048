#include "controlplane/http/metrics.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

namespace stoa::http {

namespace {

std::string escape(std::string_view value) {
    std::string escaped;
    for (const char c : value) {
        if (c == '\\' || c == '"') escaped += '\\';
        if (c == '\n') {
            escaped += "\\n";
        } else {
            escaped += c;
        }
    }
    return escaped;
}

}  // namespace

void MetricsText::family(std::string_view name, std::string_view type, std::string_view help) {
    text_ += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", name, help, type);
}

void MetricsText::sample(std::string_view name,
                         std::span<const std::pair<std::string_view, std::string_view>> labels,
                         double value) {
    text_ += name;
    if (!labels.empty()) {
        text_ += '{';
        for (size_t i = 0; i < labels.size(); ++i) {
            text_ += fmt::format("{}{}=\"{}\"", i == 0 ? "" : ",", labels[i].first,
                                 escape(labels[i].second));
        }
        text_ += '}';
    }
    text_ += fmt::format(" {}\n", value);
}

void RequestMetrics::observe(const std::string& route, uint32_t status, double seconds) {
    ++requests_[{route, status}];
    Latency& latency = latencies_[route];
    const auto bucket = std::ranges::lower_bound(kBoundsSeconds, seconds);
    ++latency.buckets.at(static_cast<size_t>(bucket - kBoundsSeconds.begin()));
    latency.sum_seconds += seconds;
}

void RequestMetrics::write(MetricsText& text) const {
    using Label = std::pair<std::string_view, std::string_view>;
    text.family("stoa_http_requests_total", "counter", "Requests answered.");
    for (const auto& [key, count] : requests_) {
        const std::string status = fmt::format("{}", key.second);
        const std::array<Label, 2> labels{Label{"route", key.first}, Label{"status", status}};
        text.sample("stoa_http_requests_total", labels, static_cast<double>(count));
    }
    text.family("stoa_http_request_seconds", "histogram", "From a request's head to its answer.");
    for (const auto& [route, latency] : latencies_) {
        uint64_t total = 0;
        for (size_t i = 0; i < latency.buckets.size(); ++i) {
            total += latency.buckets.at(i);
            const std::string bound =
                i < kBoundsSeconds.size() ? fmt::format("{}", kBoundsSeconds.at(i)) : "+Inf";
            const std::array<Label, 2> labels{Label{"route", route}, Label{"le", bound}};
            text.sample("stoa_http_request_seconds_bucket", labels, static_cast<double>(total));
        }
        const std::array<Label, 1> labels{Label{"route", route}};
        text.sample("stoa_http_request_seconds_sum", labels, latency.sum_seconds);
        text.sample("stoa_http_request_seconds_count", labels, static_cast<double>(total));
    }
}

}  // namespace stoa::http
