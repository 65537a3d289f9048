#!/bin/bash
# demo.sh: what can be seen today, on real files and in the simulator. Leaves nothing behind.
# Each step prints its command; a step that does not show what it should ends the demo.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=build/release
tool=$(find "$bin" -name stoa-pool -type f -perm -u+x | head -n 1)
sim=$bin/bin/stoa-sim
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
tool=$(realpath "$tool")
sim=$(realpath "$sim")
cd "$dir"

step() { printf '\n== %s\n' "$*"; }
run() { printf '$ %s\n' "$*"; "$@"; }
fails_with() {
    local wanted=$1 got=0
    shift
    printf '$ %s\n' "$*"
    "$@" || got=$?
    [[ $got == "$wanted" ]] || { echo "demo: exit code $got, expected $wanted" >&2; exit 1; }
}
export PATH="$(dirname "$tool"):$(dirname "$sim"):$PATH"

step "A pool on two sparse files"
run stoa-pool create --name fast --size 1G d0 d1
run stoa-pool info d0 d1

step "What bears a pool is not overwritten"
fails_with 1 stoa-pool create --name again d0

step "A damaged byte in one copy of the label is found, and names what it hit"
printf 'X' | dd of=d0 bs=1 seek=20 conv=notrunc status=none
fails_with 3 stoa-pool fsck d0 d1

step "Deleting a family of snapshots and clones, with a crash at every single write"
run stoa-sim --sequence family_deletion_survives_crashes_s1_first

step "Twenty random lives of a pool: power losses, killed processes, device faults"
run stoa-sim --seed 1 --seeds 20 --operations 500

printf '\nAll as it should be. Next: docs/howto/stoa-pool.md, ARCHITECTURE.md.\n'
