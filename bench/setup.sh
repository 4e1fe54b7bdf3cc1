#!/bin/bash
# Brings the peers into bench/.venv (from the package registries; llama.cpp is compiled for this machine).
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x bench/.venv/bin/python ] || python3 -m venv bench/.venv
stamp=bench/.venv/.requirements
if ! cmp -s bench/requirements.txt "$stamp"; then
    echo "installing the peers into bench/.venv (several minutes, several GB)" >&2
    CMAKE_BUILD_PARALLEL_LEVEL=$(nproc) bench/.venv/bin/pip install -q -r bench/requirements.txt
    cp bench/requirements.txt "$stamp"
fi
