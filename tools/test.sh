#!/bin/bash
# make test: installs what the tests need, builds, runs everything. Closes with ctest's summary line.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/deps.sh test
cmake --preset release >/dev/null
cmake --build build -j "$(nproc)"
ctest --test-dir build -j "$(nproc)" --output-on-failure
