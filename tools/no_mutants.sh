#!/bin/bash
# Fails if any of the given libraries or programs holds the selector of planted bugs.
set -euo pipefail

bad=0
for file in "$@"; do
    symbols=$(nm --demangle "$file")
    if grep -q 'select_mutant' <<<"$symbols"; then
        echo "$file holds select_mutant: it was built with STOA_MUTANTS"
        bad=1
    fi
done
((bad == 0)) && echo "[       OK ] no_mutants_shipped"
exit $bad
