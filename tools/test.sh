#!/bin/bash
# make test: installs what the tests need, builds twice (optimised; with address and undefined-behaviour sanitizers) and runs every
# test with each. The last line counts both runs.
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=$(nproc)
tools/deps.sh test
tools/models.sh
for preset in release asan; do
    cmake --preset "$preset" >/dev/null
    cmake --build --preset "$preset" -j "$jobs"
done

log=$(mktemp)
trap 'rm -f "$log"' EXIT
total=0 failed=0 skipped=0 status=0
# suite TITLE FOLDER [CTEST OPTION...]
suite() {
    echo "== $1"
    ctest --test-dir "$2" -j "$jobs" --output-on-failure --no-tests=error "${@:3}" 2>&1 | tee "$log" || status=1
    # "97% tests passed, 2 tests failed out of 46"
    local counts
    counts=$(sed -n 's/.*tests passed, \([0-9]*\) tests\{0,1\} failed out of \([0-9]*\).*/\1 \2/p' "$log")
    failed=$((failed + ${counts% *}))
    total=$((total + ${counts#* }))
    skipped=$((skipped + $(grep -c '\*\*\*Skipped' "$log" || true)))
}
suite "optimised" build
suite "address and undefined-behaviour sanitizers" build-asan
echo "== both ($skipped of those that passed found nothing to do and were skipped)"
echo "$((total - failed)) passed, $failed failed"
exit "$status"
