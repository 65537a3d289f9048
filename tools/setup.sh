#!/bin/bash
# Installs the packages of packaging/debian-packages.txt that are missing, and promtool into
# build/tools, and the packages that guests of tests are made of into build/cache. Does nothing, without needing root or a network, when all are there.
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

# What the guests of tests are made of, not installed: so that tests need no network.
fetch_guest_packages() {
    local directory=build/cache/packages kernel package
    mkdir -p "$directory"
    kernel=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image-/ { print $2; exit }')
    for package in "$kernel" busybox-static qemu-guest-agent e2fsprogs libblkid1 libc6 libcom-err2 \
        libext2fs2 libglib2.0-0 libnuma1 libpcre2-8-0 libudev1 liburing2 libuuid1; do
        compgen -G "$directory/${package}_*.deb" >/dev/null ||
            (cd "$directory" && apt-get download -q "$package")
    done
}

if ((${#missing[@]} == 0)); then
    fetch_promtool
    fetch_guest_packages
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
fetch_guest_packages
