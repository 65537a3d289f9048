#!/bin/bash
# soak.sh [MINUTES]: kills a process that uses a pool, and the daemon under NBD clients, 200 times
# each (STOA_KILLS), runs the interoperability tests under ThreadSanitizer. Then, for so many minutes
# and beside each other: fresh seeds, and all words of three operations in pieces, in random order.
# What fails is printed with the command that repeats it.
set -euo pipefail
cd "$(dirname "$0")/.."
export STOA_KILLS=${STOA_KILLS:-200} STOA_STOPPED_SECONDS=60 STOA_SOAK=1
build/release/tests/kill/kill_test
/usr/bin/python3 tests/interop/run.py kill_test stopped_test cable_is_pulled
tools/test.sh e2e interop_tsan asan_control fuzz_control
minutes=${1:-10}
sim=build/release/bin/stoa-sim

three_operations() {
    local end=$((SECONDS + minutes * 60)) pieces=256 piece
    for piece in $(seq "$pieces" | shuf); do
        ((SECONDS < end)) || break
        "$sim" --exhaustive 3 --shards "$pieces" --shard "$piece" \
            --budget-seconds $((end - SECONDS)) || {
            echo "soak: repeat with: $sim --exhaustive 3 --shards $pieces --shard $piece"
            return 1
        }
    done
}

first=$((RANDOM * 32768 + RANDOM + 1))
echo "soak: $minutes minutes from seed $first on"
three_operations &
bad=0
"$sim" --seed "$first" --minutes "$minutes" || bad=1
wait $! || bad=1
exit $bad
