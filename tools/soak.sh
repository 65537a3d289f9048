#!/bin/bash
# soak.sh [MINUTES]: simulates fresh seeds for that long, or until one fails; it is then printed.
set -euo pipefail
cd "$(dirname "$0")/.."
first=$((RANDOM * 32768 + RANDOM + 1))
echo "soak: ${1:-10} minutes from seed $first on"
exec build/release/bin/stoa-sim --seed "$first" --minutes "${1:-10}"
