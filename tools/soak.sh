#!/bin/bash
# soak.sh [MINUTES]: kills a process that uses a pool, and the daemon under NBD clients, 200 times
# each (STOA_KILLS), runs the interoperability tests under ThreadSanitizer, then simulates fresh
# seeds for so many minutes, or until one fails; it is then printed.
set -euo pipefail
cd "$(dirname "$0")/.."
export STOA_KILLS=${STOA_KILLS:-200} STOA_STOPPED_SECONDS=60 STOA_SOAK=1
build/release/tests/kill/kill_test
/usr/bin/python3 tests/interop/run.py kill_test stopped_test cable_is_pulled
tools/test.sh interop_tsan
first=$((RANDOM * 32768 + RANDOM + 1))
echo "soak: ${1:-10} minutes from seed $first on"
exec build/release/bin/stoa-sim --seed "$first" --minutes "${1:-10}"
