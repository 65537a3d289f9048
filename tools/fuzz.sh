#!/bin/bash
# fuzz.sh [SECONDS]: each fuzz target reads its kept corpus tests/corpus/<target>, then all share
# SECONDS (60) of new inputs. New inputs go to build/fuzz/corpus; a crash is kept there too.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
shopt -s nullglob
directory=${STOA_FUZZ_BUILD:-build/fuzz}
targets=("$directory"/targets/*_fuzz)
((${#targets[@]})) || exit 0
each=$((${1:-60} / ${#targets[@]}))
((each > 0)) || each=1
bad=0
for target in "${targets[@]}"; do
    name=${target##*/}
    found=$directory/corpus/$name
    mkdir -p "$found"
    kept=()
    [[ -d tests/corpus/$name ]] && kept=("tests/corpus/$name")
    good=1
    if ((${#kept[@]})); then
        "$target" -runs=0 -timeout=20 -rss_limit_mb=3072 "${kept[@]}" || good=0
    fi
    if ((good)); then
        "$target" -max_total_time="$each" -timeout=20 -rss_limit_mb=3072 \
            -artifact_prefix="$found/" "$found" "${kept[@]}" || good=0
    fi
    if ((good)); then echo "[       OK ] $name"; else echo "[  FAILED  ] $name (input above)"; bad=1; fi
done
exit $bad
