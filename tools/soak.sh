#!/bin/bash
# soak.sh MINUTES: repeats the simulation with fresh seeds until the time is over or one fails.
# The seed of a failing run is printed: STOA_SIM_SEED=<seed> repeats it.
set -euo pipefail
cd "$(dirname "$0")/.."
minutes=${1:-10}
program=build/release/tests/sim/sim_test
[[ -x $program ]] || { echo "soak: $program is not built" >&2; exit 1; }
mkdir -p build/logs
end=$((SECONDS + minutes * 60))
rounds=0
while ((SECONDS < end)); do
    seed=$((RANDOM * 32768 + RANDOM + 1))
    if ! STOA_SIM_SEED=$seed "$program" --gtest_filter='-*xhaustive*' >build/logs/soak.log 2>&1; then
        tail -n 60 build/logs/soak.log
        echo "soak: failed with STOA_SIM_SEED=$seed after $rounds good rounds"
        exit 1
    fi
    rounds=$((rounds + 1))
done
echo "soak: $rounds rounds in $minutes minutes, none failed"
