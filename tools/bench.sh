#!/bin/bash
# Runs every benchmark of the release build; arguments go to each of them.
set -euo pipefail
cd "$(dirname "$0")/.."
shopt -s nullglob
for program in build/release/bench/*_bench; do
    echo "== ${program##*/}"
    "$program" "$@"
done
