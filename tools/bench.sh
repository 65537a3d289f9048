#!/bin/bash
# Runs every benchmark of the release build; arguments go to each of them. Then the comparison with
# peers over NBD (bench/served_bench.py), which takes about half an hour.
set -euo pipefail
cd "$(dirname "$0")/.."
shopt -s nullglob
for program in build/release/bench/*_bench; do
    echo "== ${program##*/}"
    "$program" "$@"
done
echo "== served"
/usr/bin/python3 bench/served_bench.py build/release
