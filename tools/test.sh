#!/bin/bash
# test.sh [STAGE...]: builds and runs the named stages, or all of them in order. A stage whose
# program or script does not exist is left out. Output: build/logs/<stage>.log, shown on failure.
# The last line is "N passed, N failed".
set -uo pipefail
cd "$(dirname "$0")/.." || exit
mkdir -p build/logs

# build PRESET [TARGET...]
build() { cmake --preset "$1" >/dev/null && cmake --build --preset "$1" ${2:+--target "${@:2}"}; }
sim=build/release/tests/sim/sim_test

# One function a stage; a line "[       OK ] name" or "[  FAILED  ] name (…)" counts as one test.
run_lint() { tools/lint.sh; }
run_unit() { build release && ctest --test-dir build/release -LE sim --verbose; }
run_asan() { build asan without_sim && ctest --test-dir build/asan -LE sim --verbose; }
run_interop() { build release && /usr/bin/python3 tests/interop/run.py; }
# Real guests under emulation. Not among the stages by default: make soak.
run_e2e() { build release && /usr/bin/python3 tests/e2e/run.py; }
# Not among the stages by default: make soak.
run_asan_control() {
    cmake --preset asan_control >/dev/null && cmake --build --preset asan_control &&
        ctest --test-dir build/asan_control -LE 'sim|guest' --verbose
}
run_fuzz_control() { build fuzz_control fuzzers && STOA_FUZZ_BUILD=build/fuzz_control tools/fuzz.sh 60; }
run_interop_asan() {
    build asan without_sim && STOA_BINARIES=build/asan/src/apps STOA_KILLS=3 \
        ASAN_OPTIONS=detect_leaks=1:quarantine_size_mb=8 /usr/bin/python3 tests/interop/run.py \
        interop_test control_test attachment_test kill_test hostile_test host_full_test \
        device_lost_test descriptors_test
}
# A race ends the daemon, and its test fails. Not among the stages by default: make soak.
run_interop_tsan() {
    build tsan stoa-blockd stoa-pool &&
        STOA_BINARIES=build/tsan/src/apps STOA_KILLS=3 TSAN_OPTIONS=halt_on_error=1 \
            /usr/bin/python3 tests/interop/run.py
}
run_sim() { build release && simulate; }
run_exhaustive() { build release && STOA_SIM_SECONDS=280 in_halves '*xhaustive*'; }
run_mutants() { build mutants stoa-sim pool_test && python3 tools/mutants.py; }
run_fuzz() { build fuzz fuzzers && tools/fuzz.sh 60; }

# The tests of a filter in two halves beside each other.
in_halves() {
    local halves=() good=0
    for half in 0 1; do
        STOA_SIM_SHARD=$half/2 "$sim" --gtest_filter="$1" >"build/logs/half.$half" 2>&1 &
        halves+=($!)
    done
    for half in 0 1; do
        wait "${halves[$half]}" || good=1
        cat "build/logs/half.$half"
    done
    return $good
}

# The seeds, then the sequences.
simulate() {
    local good=0
    in_halves 'Simulation.*' || good=1
    "$sim" --gtest_filter='*MustHave*' && return $good
}

has_sources() { compgen -G "$1" >/dev/null; }
present() {
    case $1 in
        sim) has_sources 'tests/sim/*_test.cc' ;;
        exhaustive) grep -rqs 'xhaustive' --include='*_test.cc' tests/sim ;;
        mutants) [[ -f tools/mutants.py ]] ;;
        fuzz) [[ -n $(find src tests -name '*_fuzz.cc' -print -quit) ]] ;;
        *) true ;;
    esac
}

# Tests in a log: passed, failed. A stage that fails before any test counts as one failure.
count() {
    awk -v status="$2" '
        /^([0-9]+: )?\[       OK \] / { passed++ }
        /^([0-9]+: )?\[  FAILED  \] .*\(/ { failed++ }
        /^[0-9]+ passed, [0-9]+ failed$/ { passed += $1; failed += $3 }
        END {
            if (status != 0 && failed == 0) failed = 1
            if (status == 0 && failed == 0 && passed == 0) passed = 1
            print passed + 0, failed + 0
        }' "$1"
}

stages=("$@")
((${#stages[@]})) || stages=(lint unit interop asan interop_asan sim exhaustive mutants fuzz)
passed=0
failed=0
bad=0
for stage in "${stages[@]}"; do
    declare -F "run_$stage" >/dev/null || { echo "test: no stage '$stage'" >&2; exit 2; }
    present "$stage" || continue
    log=build/logs/$stage.log
    started=$SECONDS
    "run_$stage" >"$log" 2>&1
    status=$?
    read -r good wrong < <(count "$log" $status)
    passed=$((passed + good))
    failed=$((failed + wrong))
    ((status == 0 && wrong == 0)) || bad=1
    printf '%-12s %5d s   %d passed, %d failed\n' "$stage" $((SECONDS - started)) "$good" "$wrong"
    if ((status != 0 || wrong != 0)); then
        tail -n 80 "$log"
        echo "(all of it: $log)"
    fi
done
echo "$passed passed, $failed failed"
exit $bad
