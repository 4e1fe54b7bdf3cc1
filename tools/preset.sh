#!/bin/bash
# preset.sh PRESET: builds one of CMakePresets.json and runs the tests that need no models.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=$1
jobs=${JOBS:-$(nproc)}
tools/deps.sh build
cmake --preset "$preset" >/dev/null
cmake --build --preset "$preset" -j "$jobs"
ctest --test-dir "build-$preset" -j "$jobs" -L 'unit|kernels|fuzz' --output-on-failure
