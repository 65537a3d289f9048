#!/bin/bash
# Format, house rules (tools/tidy.py) and clang-tidy over all sources; changes nothing.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
bad=0
check() {
    local name=$1
    shift
    if "$@"; then echo "[       OK ] $name"; else echo "[  FAILED  ] $name (lint)"; bad=1; fi
}
format() {
    find src tests bench \( -name '*.h' -o -name '*.cc' \) -print0 |
        xargs -0 clang-format-19 --dry-run -Werror
}
# lint.sh --all: with clang-tidy over the control plane, which needs its precompiled header.
clang_tidy() {
    cmake --preset release >/dev/null || return
    [[ $# == 0 ]] || cmake --build --preset release --target stoa_async || return
    python3 tools/clang_tidy.py build/release "$@"
}
check format format
check tidy_rules python3 tools/tidy_test.py
check tidy python3 tools/tidy.py
check clang_tidy clang_tidy "$@"
exit $bad
