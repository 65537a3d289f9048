// Verdict: what a run was found to do wrong. Every check names the oracle that made it:
//   model-read     a read gave what no order of the writes explains
//   model-cut      after a crash the volumes are not at one allowed cut
//   model-objects  volumes, snapshots, their names, sizes or marks are not what they should be
//   diff, extents  a difference was missed, or data reported as nothing
//   fsck           the independent checker objects
//   write-once     an address was written twice between two superblocks
//   flush          the user of a device changed a buffer in flight
//   space          blocks do not add up, or leak
//   liveness       a task did not end
//   recovery-open  a pool did not open after a crash
//   operation      an operation failed that had no reason to
#pragma once

#include <optional>
#include <string>
#include <utility>

namespace stoa::simtest {

struct Failure {
    std::string oracle;
    std::string message;
};

// Keeps the first failure.
class Verdict {
public:
    void fail(std::string oracle, std::string message) {
        if (!failure_) failure_ = Failure{std::move(oracle), std::move(message)};
    }
    [[nodiscard]] bool failed() const { return failure_.has_value(); }
    [[nodiscard]] const Failure& failure() const { return *failure_; }
    [[nodiscard]] std::string text() const {
        return failure_ ? failure_->oracle + ": " + failure_->message : std::string("good");
    }

private:
    std::optional<Failure> failure_;
};

}  // namespace stoa::simtest
