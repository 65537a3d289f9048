#!/bin/bash
# Installs the packages of packaging/debian-packages.txt that are missing. Does nothing, without
# needing root or a network, when all are there.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
while read -r package _; do
    [[ -z $package || $package == \#* ]] && continue
    status=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
    [[ $status == "install ok installed" ]] || missing+=("$package")
done <packaging/debian-packages.txt

if ((${#missing[@]} == 0)); then
    echo "setup: all packages are installed"
    exit 0
fi

as_root=()
if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
        echo "setup: missing ${missing[*]}; run this as root, or install sudo" >&2
        exit 1
    fi
    as_root=(sudo)
fi
echo "setup: installing ${missing[*]}"
"${as_root[@]}" apt-get update -q
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends "${missing[@]}"
