// One entry of the journal: what happened, was decided, was asked for, or was done, and to what.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>

#include "base/describe.h"

namespace stoa::journal {

// event: something happened ("vm web1 crashed"). decision: the program chose, and why; `data` has
// the inputs and the rejected options. audit: somebody asked for a change, granted or refused.
// task: a task began, ended, or a step of it failed.
enum class Kind : uint8_t { event, decision, audit, task };
constexpr std::array<std::string_view, 4> enum_names(Kind /*kind*/) {
    return {"event", "decision", "audit", "task"};
}

// No entry holds a secret: whoever adds it has taken them out of `text` and `data`
// (base/describe.h, for_each_secret). The journal keeps what it is given.
struct Entry {
    uint64_t sequence = 0;  // given by the journal, from 1 on
    int64_t time_ns = 0;    // since 1970; 0 when it is added: now
    Kind kind = Kind::event;
    std::string subject;    // "vm/ID", or empty: the host
    std::string text;       // one line for people
    std::string principal;  // "user/ID", "local/UID"; empty: the program itself
    Json data;              // for programs; null or an object
    static constexpr auto fields() {
        return std::tuple(required("sequence", &Entry::sequence, "grows for ever, by one"),
                          required("time_ns", &Entry::time_ns, "ns since 1970"),
                          required("kind", &Entry::kind, ""),
                          required("subject", &Entry::subject, "KIND/ID; empty: the host"),
                          required("text", &Entry::text, "for people"),
                          optional("principal", &Entry::principal, "who asked"),
                          optional("data", &Entry::data, "for programs"));
    }
};

// What is longer is cut (text) or replaced by {"left_out_bytes": N} (data).
constexpr size_t kTextBytesMax = 4096;
constexpr size_t kSubjectBytesMax = 200;
constexpr size_t kDataBytesMax = size_t{32} << 10;

}  // namespace stoa::journal
