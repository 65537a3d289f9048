// Debian packages as files: found, downloaded, unpacked; nothing is installed.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "controlplane/async/async.h"

namespace stoa::image {

// The newest file of `package` among `files`: "PACKAGE_VERSION_ARCHITECTURE.deb". Empty: none.
[[nodiscard]] std::string newest_file(std::string_view package,
                                      const std::vector<std::string>& files);

// Whether version `a` is older than `b`, as dpkg orders them (deb-version(7)).
[[nodiscard]] bool is_older(std::string_view a, std::string_view b);

// Paths of their files, in the order of `packages`, all in `directory`. A missing kernel package
// whose name ends with "*" is the one on which its metapackage depends.
// Errors: not_found (names all that cannot be had, and says what to do), io.
Async<std::vector<std::string>> fetch_packages(std::vector<std::string> packages,
                                               std::string directory, bool may_download);

// Into `directory`, which exists. Errors: corrupt (names the file), not_found (no dpkg-deb), io.
Async<> unpack(std::string file, std::string directory);

}  // namespace stoa::image
