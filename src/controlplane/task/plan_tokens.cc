#include "controlplane/task/plan_tokens.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "base/describe.h"

namespace stoa::task {

namespace {

// Lines of what differs, up to a number that a person reads.
class Lines {
public:
    void add(std::string line) {
        if (count_++ >= kLinesMax) return;
        if (!text_.empty()) text_ += '\n';
        text_ += line;
    }
    std::string take() {
        if (count_ > kLinesMax) text_ += fmt::format("\nand {} more", count_ - kLinesMax);
        return std::move(text_);
    }

private:
    static constexpr size_t kLinesMax = 20;
    std::string text_;
    size_t count_ = 0;
};

// "/vm/spec/ID" → "vm ID"; another key as it is.
std::string called(const std::string& key) {
    const size_t first = key.find('/', 1);
    const size_t second = first == std::string::npos ? first : key.find('/', first + 1);
    if (!key.starts_with('/') || second == std::string::npos) return key;
    return fmt::format("{} {}", key.substr(1, first - 1), key.substr(second + 1));
}

void compare_steps(const Plan& before, const Plan& now, Lines& lines) {
    const size_t count = std::max(before.steps.size(), now.steps.size());
    for (size_t i = 0; i < count; ++i) {
        if (i >= now.steps.size()) {
            lines.add(
                fmt::format("step {} is not needed any more: {}", i + 1, before.steps[i].text));
            continue;
        }
        if (i >= before.steps.size()) {
            lines.add(fmt::format("step {} is new: {}", i + 1, now.steps[i].text));
            continue;
        }
        const model::Step& old = before.steps[i];
        const model::Step& fresh = now.steps[i];
        if (old.type != fresh.type || old.text != fresh.text) {
            lines.add(
                fmt::format("step {} was \"{}\", now it is \"{}\"", i + 1, old.text, fresh.text));
        } else if (to_text(old.arguments) != to_text(fresh.arguments)) {
            lines.add(fmt::format("step {} \"{}\" has other arguments: {}, now {}", i + 1, old.text,
                                  to_text(old.arguments), to_text(fresh.arguments)));
        }
    }
}

// What the intent is about, and in what state it was seen or would be left.
using Effects = std::map<std::string, std::string>;

Effects guards_of(const state::Txn& txn) {
    Effects found;
    for (const state::Compare& each : txn.compares) {
        found[each.key] = each.revision ? fmt::format("{}", each.revision->number) : "";
    }
    return found;
}

Effects changes_of(const state::Txn& txn) {
    Effects found;
    for (const state::Put& put : txn.puts) found[put.key] = '=' + put.value;
    for (const std::string& key : txn.deletes) found[key] = "";
    return found;
}

template <class Say>
void compare(const Effects& before, const Effects& now, const Say& say) {
    for (const auto& [key, value] : before) {
        const auto other = now.find(key);
        if (other == now.end() || other->second != value) say(key);
    }
    for (const auto& [key, value] : now) {
        if (!before.contains(key)) say(key);
    }
}

}  // namespace

std::string difference(const Plan& before, const Plan& now) {
    Lines lines;
    const auto words = [&lines](std::string_view what, const std::string& old,
                                const std::string& fresh) {
        if (old != fresh) lines.add(fmt::format("{} was {}, now it is {}", what, old, fresh));
    };
    words("the verb", before.verb, now.verb);
    words("the target", before.target, now.target);
    words("the list of locks", fmt::format("{}", fmt::join(before.locks, ", ")),
          fmt::format("{}", fmt::join(now.locks, ", ")));
    compare_steps(before, now, lines);
    const auto number = [](const std::optional<uint32_t>& step) {
        return step ? fmt::format("step {}", *step) : std::string("none");
    };
    words("the point of no return", number(before.point_of_no_return),
          number(now.point_of_no_return));
    words("whether it waits for its turn", before.bypasses ? "no" : "yes",
          now.bypasses ? "no" : "yes");
    compare(guards_of(before.intent), guards_of(now.intent), [&lines](const std::string& key) {
        lines.add(fmt::format("{} was changed meanwhile", called(key)));
    });
    compare(changes_of(before.intent), changes_of(now.intent), [&lines](const std::string& key) {
        lines.add(fmt::format("{} would become something else", called(key)));
    });
    return lines.take();
}

std::string PlanTokens::keep(const Plan& plan, Ids::Seed seed, std::string principal) {
    forget_old();
    if (kept_.size() >= options_.kept_max) kept_.pop_front();
    const uint64_t high = options_.random();
    std::string token = fmt::format("{:016x}{:016x}", high, options_.random());
    kept_.push_back(
        {token, std::move(principal), options_.now_ns() + options_.keep_ns, seed, plan});
    return token;
}

void PlanTokens::forget_old() {
    const int64_t now_ns = options_.now_ns();
    std::erase_if(kept_, [now_ns](const Kept& each) { return each.until_ns <= now_ns; });
}

std::deque<PlanTokens::Kept>::iterator PlanTokens::find(const std::string& token,
                                                        const std::string& principal) {
    forget_old();
    return std::ranges::find_if(kept_, [&](const Kept& each) {
        return each.token == token && each.principal == principal;
    });
}

namespace {

Error unknown_token() {
    return {ErrorCode::gone,
            "plan_token: no such plan is kept (it was executed, or is too old): make it again "
            "with plan=true"};
}

}  // namespace

Result<Ids::Seed> PlanTokens::seed_of(const std::string& token, const std::string& principal) {
    const auto found = find(token, principal);
    if (found == kept_.end()) return unknown_token();
    return found->seed;
}

Result<void> PlanTokens::take(const std::string& token, const std::string& principal,
                              const Plan& now) {
    const auto found = find(token, principal);
    if (found == kept_.end()) return unknown_token();
    const std::string lines = difference(found->plan, now);
    if (!lines.empty()) {
        return Error(
            ErrorCode::conflict,
            fmt::format("the plan that was shown would do something else now:\n{}", lines));
    }
    kept_.erase(found);
    return {};
}

}  // namespace stoa::task
