// The table of what `stoa` can do: nouns, their verbs, and what each verb takes.
//
// The parser, the help, the reference in docs/guide/cli.md and the completion of shells all come
// from it. A verb that creates, sets or does something is data alone; the few that are more than
// one request have a function of their own.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace stoa::cli {

class Context;
struct Invocation;

// How the words of an option or argument become JSON.
enum class Take : uint8_t {
    text,
    number,
    size,     // bytes
    seconds,  // a duration
    expiry,   // a duration from now, as ns since 1970
    flag,     // takes no word: true
    refusal,  // takes no word: false
    yes_no,
    list,     // may be given often: an array of texts
    words,    // separated by commas: an array of texts
    labels,   // KEY=VALUE, may be given often: an object
    sizes,    // NAME=SIZE, may be given often: an object
    disks,    // may be given often: an array of NewDisk
    nics,     // may be given often: an array of NewNic
    forwards, // may be given often: an array of port forwards
    grants,   // may be given often: an array of grants
    file,     // the name of a file of this machine
};

struct Option {
    std::string_view name = {};   // "--memory"
    Take take = Take::text;
    std::string_view value = {};  // "SIZE"; empty for flags
    // Where it goes: a field of the body ("restart.on_crash"), of the query ("?now"), or, if
    // empty, to the verb's function.
    std::string_view field = {};
    std::string_view help = {};
    std::string_view noun = {};  // what its word names, for completion
};

struct Argument {
    std::string_view name = {};  // "NAME"
    std::string_view help = {};
    std::string_view noun = {};   // what it names, for completion
    std::string_view field =
        {};  // of the body; empty: part of the path, or for the verb's function
    bool is_optional = false;
    bool is_many = false;  // all words that are left
};

using Handler = Result<int> (*)(Context& context, const Invocation& invocation);

struct Verb {
    std::string_view noun = {};  // empty: stands alone
    std::string_view name = {};
    std::string_view summary = {};
    std::vector<Argument> arguments = {};
    std::vector<Option> options = {};
    Handler handler = nullptr;
    std::string_view path = {};  // behind that of the item: "/start"
    std::string_view done = {};  // "started"
    // Asks before it is done: "delete", "reset". Empty: does not.
    std::string_view danger = {};
    std::vector<std::string_view> examples = {};
};

struct Noun {
    std::string_view name;    // "vm"
    std::string_view plural;  // "vms": its collection
    std::string_view summary;
};

[[nodiscard]] const std::vector<Noun>& nouns();
[[nodiscard]] const Noun* find_noun(std::string_view name);
[[nodiscard]] const std::vector<Verb>& verbs();
[[nodiscard]] const Verb* find_verb(std::string_view noun, std::string_view name);
// Options that every command takes.
[[nodiscard]] const std::vector<Option>& global_options();

// Parts of the table, one file each.
[[nodiscard]] std::vector<Verb> vm_verbs();
[[nodiscard]] std::vector<Verb> vm_action_verbs();
[[nodiscard]] std::vector<Verb> storage_verbs();
[[nodiscard]] std::vector<Verb> network_verbs();
[[nodiscard]] std::vector<Verb> access_verbs();
[[nodiscard]] std::vector<Verb> system_verbs();

// What was typed, taken apart.
struct Invocation {
    const Verb* verb = nullptr;
    std::map<std::string_view, std::vector<std::string>> options;    // by "--name"
    std::map<std::string_view, std::vector<std::string>> arguments;  // by "NAME"

    [[nodiscard]] bool has(std::string_view option) const { return options.contains(option); }
    // The last one given, or empty.
    [[nodiscard]] std::string option(std::string_view name) const;
    [[nodiscard]] std::string argument(std::string_view name) const;
    [[nodiscard]] const std::vector<std::string>& all(std::string_view argument_name) const;
};

}  // namespace stoa::cli
