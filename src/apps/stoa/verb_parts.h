// Pieces that many entries of the table of verbs share.
#pragma once

#include <vector>

#include "apps/stoa/generic.h"
#include "apps/stoa/verbs.h"

namespace stoa::cli {

inline constexpr Option kLabelsOption{.name = "--label",
                                      .take = Take::labels,
                                      .value = "KEY=VALUE",
                                      .field = "labels",
                                      .help = "of your own, for filters; may be given often"};
inline constexpr Option kAllLabelsOption{.name = "--label",
                                         .take = Take::labels,
                                         .value = "KEY=VALUE",
                                         .field = "labels",
                                         .help = "in place of all that it has; may be given often"};
inline constexpr Option kRenameOption{
    .name = "--name", .value = "NAME", .field = "name", .help = "the new name"};
inline constexpr Option kProtectedOption{.name = "--protected",
                                         .take = Take::yes_no,
                                         .value = "yes|no",
                                         .field = "protected",
                                         .help = "whether it cannot be deleted"};

[[nodiscard]] inline Argument one_name(std::string_view noun) {
    return {.name = "NAME", .help = "name or id", .noun = noun};
}
[[nodiscard]] inline Argument new_name() {
    return {.name = "NAME", .help = "small letters, digits and '-', up to 63", .field = "name"};
}
[[nodiscard]] inline Argument many_names(std::string_view noun) {
    return {.name = "NAME", .help = "name or id; several at once", .noun = noun, .is_many = true};
}

[[nodiscard]] inline Verb list_verb(std::string_view noun, std::string_view summary,
                                    std::vector<std::string_view> examples) {
    return {.noun = noun,
            .name = "list",
            .summary = summary,
            .options = {{.name = "--label",
                         .take = Take::labels,
                         .value = "KEY[=VALUE]",
                         .help = "only those with it; may be given often"}},
            .handler = run_list,
            .examples = std::move(examples)};
}
[[nodiscard]] inline Verb show_verb(std::string_view noun, std::string_view summary,
                                    std::vector<std::string_view> examples) {
    return {.noun = noun,
            .name = "show",
            .summary = summary,
            .arguments = {many_names(noun)},
            .handler = run_show,
            .examples = std::move(examples)};
}
[[nodiscard]] inline Verb edit_verb(std::string_view noun, std::string_view summary,
                                    std::vector<std::string_view> examples) {
    return {.noun = noun,
            .name = "edit",
            .summary = summary,
            .arguments = {one_name(noun)},
            .handler = run_edit,
            .examples = std::move(examples)};
}
[[nodiscard]] inline Verb delete_verb(std::string_view noun, std::string_view summary,
                                      std::vector<std::string_view> examples) {
    return {.noun = noun,
            .name = "delete",
            .summary = summary,
            .arguments = {many_names(noun)},
            .handler = run_delete,
            .danger = "Delete",
            .examples = std::move(examples)};
}

}  // namespace stoa::cli
