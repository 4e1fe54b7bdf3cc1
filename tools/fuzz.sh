#!/bin/bash
# fuzz.sh SECONDS: builds the libFuzzer programs with clang and runs each on its corpus. A crash is left in build-fuzz/.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
clang=$(command -v clang || command -v clang-14) || { echo "fuzz.sh: needs clang: apt-get install clang libclang-rt-14-dev" >&2; exit 1; }
cmake --preset fuzz -DCMAKE_C_COMPILER="$clang" >/dev/null
cmake --build build-fuzz -j "${JOBS:-$(nproc)}"
for program in build-fuzz/tests/fuzz_*; do
    parser=${program##*/fuzz_}
    echo "== $parser, $seconds s"
    mkdir -p "build-fuzz/corpus/$parser"
    "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=0 -verbosity=0 \
        -artifact_prefix="build-fuzz/$parser-" "build-fuzz/corpus/$parser" "tests/fuzz/corpus/$parser"
done
echo "fuzz: no crash"
