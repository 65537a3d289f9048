// Collects what the check finds, at most a given number of messages of each kind.
#pragma once

#include <fmt/format.h>

#include <utility>

#include "dataplane/pool/fsck/fsck.h"

namespace stoa::fsck {

class Findings {
public:
    Findings(Report& report, size_t messages_max) : report_(report), messages_max_(messages_max) {}

    template <class... Args>
    void problem(fmt::format_string<Args...> text, Args&&... args) {
        ++report_.problem_count;
        if (report_.problems.size() >= messages_max_) return;
        report_.problems.push_back(fmt::format(text, std::forward<Args>(args)...));
    }
    template <class... Args>
    void repairable(fmt::format_string<Args...> text, Args&&... args) {
        ++report_.repairable_count;
        if (report_.repairable.size() >= messages_max_) return;
        report_.repairable.push_back(fmt::format(text, std::forward<Args>(args)...));
    }
    template <class... Args>
    void note(fmt::format_string<Args...> text, Args&&... args) {
        if (report_.notes.size() >= messages_max_) return;
        report_.notes.push_back(fmt::format(text, std::forward<Args>(args)...));
    }

    [[nodiscard]] Report& report() { return report_; }
    [[nodiscard]] Counts& counts() { return report_.counts; }

private:
    Report& report_;
    size_t messages_max_;
};

}  // namespace stoa::fsck
