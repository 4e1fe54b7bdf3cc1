#!/bin/bash
# Installs the Debian packages that are missing, with apt-get; asks for nothing. deps.sh [build|demo|test|lint]
set -euo pipefail
build="gcc make cmake ninja-build pkg-config libc6-dev libjansson-dev libsqlite3-dev libgumbo-dev libmd4c-dev
    libutf8proc-dev libpcre2-dev libseccomp-dev libuchardet-dev libedit-dev libssl-dev libcmocka-dev poppler-utils"
demo="$build ca-certificates python3 python3-pip postgresql-doc-15"
lint="clang-format"
test="$demo gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
case ${1:-build} in build | demo | test | lint) want=${!1:-$build} ;; *) echo "deps.sh: no such set: $1" >&2; exit 2 ;; esac

installed=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' 2>/dev/null | awk '$2 == "installed" { print $1 }') ||
    { echo "deps.sh: this is no Debian: install the equivalents of: $want" >&2; exit 1; }
missing=()
for p in $want; do
    grep -qxF "$p" <<<"$installed" || missing+=("$p")
done
[ ${#missing[@]} = 0 ] && exit 0

sudo=()
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "deps.sh: run as root, or install: ${missing[*]}" >&2; exit 1; }
    sudo=(sudo)
fi
echo "installing Debian packages: ${missing[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { "${sudo[@]}" apt-get update -qq &&
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } \
    >"$log" 2>&1; then
    tail -20 "$log" >&2
    echo "deps.sh: apt-get failed (above): is there a network, and is no other apt-get running?" >&2
    exit 1
fi
