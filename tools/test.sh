#!/bin/bash
# make test: installs what the tests need, builds twice (optimised; with address and undefined-behaviour sanitizers), and runs
# everything as one ctest run, whose summary is the last thing printed. The sanitizer builds' tests are one test of that run.
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=$(nproc)
tools/deps.sh test
tools/models.sh
cmake --preset release -DHEARTH_SANITIZER_SUITE=ON >/dev/null
cmake --build build -j "$jobs"
cmake --preset asan >/dev/null
cmake --build build-asan -j "$jobs"
ctest --test-dir build -j "$jobs" --output-on-failure
