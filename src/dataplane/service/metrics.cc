#include "dataplane/service/metrics.h"

#include <fmt/format.h>

namespace stoa::service {

namespace {

std::string escape(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '\\' || c == '"') out += '\\';
        if (c == '\n') out += "\\n";
        else out += c;
    }
    return out;
}

// `more` comes last: the le of a bucket.
std::string in_braces(const Metrics::Labels& labels, std::string_view more = {}) {
    std::string out;
    for (const auto& [name, value] : labels) {
        out += fmt::format("{}{}=\"{}\"", out.empty() ? "" : ",", name, escape(value));
    }
    if (!more.empty()) out += fmt::format("{}{}", out.empty() ? "" : ",", more);
    return out.empty() ? out : '{' + out + '}';
}

}  // namespace

std::string& Metrics::samples(std::string_view name, std::string_view type, std::string_view help) {
    Family& family = families_[std::string(name)];
    family.type = type;
    family.help = help;
    return family.samples;
}

void Metrics::counter(std::string_view name, std::string_view help, const Labels& labels,
                      uint64_t value) {
    samples(name, "counter", help) += fmt::format("{}{} {}\n", name, in_braces(labels), value);
}

void Metrics::seconds(std::string_view name, std::string_view help, const Labels& labels,
                      uint64_t nanoseconds) {
    samples(name, "counter", help) +=
        fmt::format("{}{} {}\n", name, in_braces(labels), static_cast<double>(nanoseconds) * 1e-9);
}

void Metrics::gauge(std::string_view name, std::string_view help, const Labels& labels,
                    double value) {
    samples(name, "gauge", help) += fmt::format("{}{} {}\n", name, in_braces(labels), value);
}

void Metrics::histogram(std::string_view name, std::string_view help, const Labels& labels,
                        const nbd::LatencyHistogram& values) {
    std::string& out = samples(name, "histogram", help);
    uint64_t count = 0;
    double limit_s = 1e-6;
    for (size_t i = 0; i < nbd::LatencyHistogram::kBuckets; ++i, limit_s *= 2) {
        count += values.buckets().at(i);
        const bool last = i + 1 == nbd::LatencyHistogram::kBuckets;
        const std::string le =
            last ? std::string("le=\"+Inf\"") : fmt::format("le=\"{}\"", limit_s);
        out += fmt::format("{}_bucket{} {}\n", name, in_braces(labels, le), count);
    }
    out += fmt::format("{}_sum{} {}\n", name, in_braces(labels),
                       static_cast<double>(values.sum_ns()) * 1e-9);
    out += fmt::format("{}_count{} {}\n", name, in_braces(labels), count);
}

std::string Metrics::text() const {
    std::string out;
    for (const auto& [name, family] : families_) {
        out += fmt::format("# HELP {} {}\n# TYPE {} {}\n{}", name, family.help, name, family.type,
                           family.samples);
    }
    return out;
}

}  // namespace stoa::service
