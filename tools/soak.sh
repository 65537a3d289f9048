#!/bin/bash
# soak.sh [MINUTES]: kills a process that serves a pool 200 times (STOA_KILLS), then simulates fresh
# seeds for so many minutes, or until one fails; it is then printed.
set -euo pipefail
cd "$(dirname "$0")/.."
STOA_KILLS=${STOA_KILLS:-200} build/release/tests/kill/kill_test
first=$((RANDOM * 32768 + RANDOM + 1))
echo "soak: ${1:-10} minutes from seed $first on"
exec build/release/bin/stoa-sim --seed "$first" --minutes "${1:-10}"
