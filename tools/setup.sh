#!/bin/bash
# Installs the packages of packaging/debian-packages.txt that are missing, and promtool into
# build/tools. Does nothing, without needing root or a network, when all are there.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
while read -r package _; do
    [[ -z $package || $package == \#* ]] && continue
    status=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
    [[ $status == "install ok installed" ]] || missing+=("$package")
done <packaging/debian-packages.txt

# promtool without its package, which would start a server on this machine.
fetch_promtool() {
    [[ -x build/tools/promtool ]] || command -v promtool >/dev/null && return
    local directory
    directory=$(mktemp -d)
    (cd "$directory" && apt-get download -q prometheus && dpkg-deb -x prometheus_*.deb .)
    install -D "$directory/usr/bin/promtool" build/tools/promtool
    rm -r "$directory"
}

if ((${#missing[@]} == 0)); then
    fetch_promtool
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
fetch_promtool
