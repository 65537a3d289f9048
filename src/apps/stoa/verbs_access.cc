// The table's verbs for users, roles, tokens, and the control planes of other machines.
#include "apps/stoa/commands.h"
#include "apps/stoa/verb_parts.h"

namespace stoa::cli {

namespace {

constexpr Option kGrants{.name = "--grant",
                         .take = Take::grants,
                         .value = "ROLE[@PATH]",
                         .field = "grants",
                         .help = "such as operator, or viewer@/vm/web1; may be given often",
                         .noun = "role"};
constexpr Option kPasswordStdin{.name = "--password-stdin",
                                .take = Take::flag,
                                .help = "the password is the first line of standard input"};

std::vector<Verb> user_verbs() {
    return {
        list_verb("user", "All users.", {"stoa user list"}),
        show_verb("user", "All that is known of users.", {"stoa user show anna"}),
        {.noun = "user",
         .name = "create",
         .summary = "Make a user; asks for a password.",
         .arguments = {new_name()},
         .options =
             {kGrants,
              kPasswordStdin,
              {.name = "--no-password",
               .take = Take::flag,
               .help = "can have tokens, and not log in"},
              {.name = "--disabled", .take = Take::flag, .field = "disabled", .help = "for now"},
              kLabelsOption},
         .handler = run_user_create,
         .examples = {"stoa user create anna --grant administrator",
                      "stoa user create ci --no-password --grant operator"}},
        {.noun = "user",
         .name = "set",
         .summary = "Change users.",
         .arguments = {many_names("user")},
         .options = {{.name = "--grant",
                      .take = Take::grants,
                      .value = "ROLE[@PATH]",
                      .field = "grants",
                      .help = "in place of all that it has; may be given often",
                      .noun = "role"},
                     {.name = "--disabled",
                      .take = Take::yes_no,
                      .value = "yes|no",
                      .field = "disabled",
                      .help = ""},
                     kRenameOption,
                     kAllLabelsOption},
         .handler = run_set,
         .examples = {"stoa user set anna --grant operator --grant viewer@/vm/db1",
                      "stoa user set anna --disabled yes"}},
        {.noun = "user",
         .name = "password",
         .summary = "Set a user's password.",
         .arguments = {one_name("user")},
         .options = {kPasswordStdin},
         .handler = run_user_password,
         .examples = {"stoa user password anna"}},
        edit_verb("user", "Change a user in an editor.", {"stoa user edit anna"}),
        delete_verb("user", "Delete users, with their tokens.", {"stoa user delete anna"}),
    };
}

std::vector<Verb> role_verbs() {
    const Option permissions{.name = "--permission",
                             .take = Take::list,
                             .value = "WORD",
                             .field = "permissions",
                             .help = "such as vm.start, vm.*, *.read; may be given often"};
    return {
        list_verb("role", "All roles.", {"stoa role list"}),
        show_verb("role", "All that is known of roles.", {"stoa role show operator"}),
        {.noun = "role",
         .name = "create",
         .summary = "Make a role.",
         .arguments = {new_name()},
         .options = {permissions, kLabelsOption},
         .handler = run_create,
         .examples = {"stoa role create starter --permission vm.start --permission vm.stop"}},
        {.noun = "role",
         .name = "set",
         .summary = "Change roles.",
         .arguments = {many_names("role")},
         .options = {permissions, kRenameOption, kAllLabelsOption},
         .handler = run_set,
         .examples = {"stoa role set starter --permission vm.*"}},
        edit_verb("role", "Change a role in an editor.", {"stoa role edit starter"}),
        delete_verb("role", "Delete roles that nobody has.", {"stoa role delete starter"}),
    };
}

std::vector<Verb> token_verbs() {
    return {
        list_verb("token", "All tokens.", {"stoa token list"}),
        show_verb("token", "All that is known of tokens; not the token itself.",
                  {"stoa token show ci"}),
        {.noun = "token",
         .name = "create",
         .summary = "Make a token. It is shown this once.",
         .arguments = {new_name()},
         .options = {{.name = "--user",
                      .value = "USER",
                      .field = "user",
                      .help = "for whom it acts; you",
                      .noun = "user"},
                     {.name = "--grant",
                      .take = Take::grants,
                      .value = "ROLE[@PATH]",
                      .field = "grants",
                      .help = "at most this; all that the user may; may be given often",
                      .noun = "role"},
                     {.name = "--expires",
                      .take = Take::expiry,
                      .value = "TIME",
                      .field = "expires_ns",
                      .help = "after this, such as 90d; never"},
                     kLabelsOption},
         .handler = run_token_create,
         .examples = {"stoa token create ci --user ci --expires 90d",
                      "TOKEN=$(stoa token create ci -q)"}},
        edit_verb("token", "Change a token in an editor.", {"stoa token edit ci"}),
        delete_verb("token", "Delete tokens: they count no more at once.",
                    {"stoa token delete ci"}),
    };
}

std::vector<Verb> remote_verbs() {
    const Argument name{.name = "NAME", .help = "as this user calls it", .noun = "remote"};
    return {
        {.noun = "remote",
         .name = "list",
         .summary = "Control planes that this user knows.",
         .handler = run_remote_list,
         .examples = {"stoa remote list"}},
        {.noun = "remote",
         .name = "show",
         .summary = "One of them, with the fingerprint that is trusted.",
         .arguments = {name},
         .handler = run_remote_show,
         .examples = {"stoa remote show paris"}},
        {.noun = "remote",
         .name = "add",
         .summary = "Remember a control plane: shows its certificate's fingerprint, and trusts it "
                    "from then on.",
         .arguments = {{.name = "URL", .help = "https://HOST[:PORT]; port 8443"},
                       {.name = "NAME", .help = "what to call it; the host", .is_optional = true}},
         .options = {{.name = "--fingerprint",
                      .value = "HEX",
                      .help = "trust this one, do not ask"},
                     {.name = "--token",
                      .value = "TOKEN",
                      .help = "as which user (better: STOA_TOKEN, or stoa login)"}},
         .handler = run_remote_add,
         .examples = {"stoa remote add https://paris.example.org paris", "stoa -r paris vm list"}},
        {.noun = "remote",
         .name = "delete",
         .summary = "Forget a control plane, and the token for it.",
         .arguments = {name},
         .handler = run_remote_delete,
         .examples = {"stoa remote delete paris"}},
        {.name = "login",
         .summary = "Log in to a remote; the token is kept until it expires.",
         .options = {{.name = "--user", .value = "USER", .help = "asked for, if it is not given"},
                     kPasswordStdin},
         .handler = run_login,
         .examples = {"stoa -r paris login --user anna"}},
    };
}

}  // namespace

std::vector<Verb> access_verbs() {
    std::vector<Verb> all;
    for (auto part : {user_verbs(), role_verbs(), token_verbs(), remote_verbs()}) {
        for (Verb& verb : part) all.push_back(std::move(verb));
    }
    return all;
}

}  // namespace stoa::cli
