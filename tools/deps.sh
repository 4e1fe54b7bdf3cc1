#!/bin/bash
# Installs the Debian packages that are missing. deps.sh [build|demo|test]
set -euo pipefail
build="gcc make cmake ninja-build pkg-config libjansson-dev libsqlite3-dev libgumbo-dev libmd4c-dev libutf8proc-dev libpcre2-dev libseccomp-dev libuchardet-dev libedit-dev libssl-dev poppler-utils"
demo="$build python3 python3-pip unzip postgresql-doc-15"
test="$demo libcmocka-dev clang libclang-rt-14-dev gcc-aarch64-linux-gnu qemu-user python3"
want=${!1:-$build}
missing=()
for p in $want; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing+=("$p")
done
[ ${#missing[@]} = 0 ] && exit 0
sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
echo "installing Debian packages: ${missing[*]}" >&2
$sudo apt-get update -qq
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
