#!/bin/bash
# Cross-compiles the kernels for 64-bit ARM and checks them against scalar under an emulator. Skips where either is missing.
set -euo pipefail
cd "${HEARTH_SRC:-$(dirname "$0")/../..}"
cc=${AARCH64_CC:-aarch64-linux-gnu-gcc}
if ! command -v "$cc" >/dev/null || ! command -v qemu-aarch64 >/dev/null; then
    [ "${CI:-}" = true ] && { echo "missing in CI: $cc or qemu-aarch64"; exit 1; }
    echo "no $cc or no qemu-aarch64: skipped"
    exit 77
fi
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
"$cc" -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -Wshadow -Wconversion -Werror -Isrc -static -pthread -o "$out/test_kernels" \
    src/tensor/*.c src/base/err.c src/base/mem.c src/base/sys.c tests/kernels/test_kernels.c -lm
log=$(qemu-aarch64 -cpu max "$out/test_kernels")
echo "$log"
grep -q "neon-dotprod: checked" <<< "$log"
qemu-aarch64 -cpu cortex-a53 "$out/test_kernels" | tee "$out/log"
grep -q "neon: checked" "$out/log"
