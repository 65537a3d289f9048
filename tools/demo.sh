#!/bin/bash
# demo.sh [BUILD]: the tour of the engine (src/apps/demo) on real files, served over NBD
# (demo_served.py), and in the simulator.
# Needs what `make build` makes in BUILD (build/release). Leaves nothing behind; a step that does
# not show what it should ends the demo with exit code 1. TMPDIR says on which disk it works.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
build=${1:-build/release}

timeout --foreground --kill-after=10 180 "$build/src/apps/demo/stoa-demo" || exit 1

# The distribution's Python: it has libnbd's module.
timeout --foreground --kill-after=10 180 /usr/bin/python3 -W ignore tools/demo_served.py "$build" || exit 1

simulate() {
    local title=$1
    shift
    printf '\n== %s\n   $ stoa-sim %s\n   ' "$title" "$*"
    "$build/bin/stoa-sim" "$@" || { echo "demo: FAILED: stoa-sim found an error" >&2; exit 1; }
}
echo
echo "What files cannot show, the simulator does: disks that lose, tear and damage what they hold."
simulate "A family of snapshots and clones is deleted, with a crash at every write" \
    --sequence family_deletion_survives_crashes_s1_first
simulate "Twenty random lives of a pool: power losses, killed processes, faulty disks" \
    --seed 1 --seeds 20 --operations 500
printf '\nThe demo is done. Next: README.md, docs/blockd.md, docs/howto/stoa-pool.md, ARCHITECTURE.md.\n'
