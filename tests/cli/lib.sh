# Sourced by every tests/cli/test_*.sh: a work folder of its own, a clean environment, and checks that state exact outcomes.
#   run CMD...             runs it; $out, $err (texts) and $code are what came back
#   code N | out RE | err RE | same WHAT WANTED | json EXPR   check the last run; EXPR is Python over the parsed stdout `j`
set -u
hearth=$(realpath "${HEARTH_BIN:-build/hearth}")
src=$(realpath "${HEARTH_SRC:-.}")
work=$(mktemp -d)
cleanup() { cd /; mountpoint -q "$work/disk" && umount "$work/disk"; rm -rf "$work"; }
trap cleanup EXIT
for v in $(compgen -e | grep '^HEARTH_'); do unset "$v"; done
unset NO_COLOR XDG_DATA_HOME XDG_CONFIG_HOME
export HOME=$work/home LC_ALL=C.UTF-8
mkdir "$HOME"
cd "$work" || exit 1
n_passed=0 n_failed=0 what=

pass() { n_passed=$((n_passed + 1)); }
fail() {
    n_failed=$((n_failed + 1))
    printf 'FAILED %s\n  after: %s\n  code %s\n  stdout: %.600s\n  stderr: %.600s\n' "$1" "$what" "$code" "$out" "$err"
}
run() {
    what="$*"
    "$@" >"$work/.out" 2>"$work/.err" </dev/null
    code=$?
    collect
}
runs() { # runs TEXT CMD...: with TEXT on standard input
    local text=$1
    shift
    what="$*"
    printf '%s' "$text" | "$@" >"$work/.out" 2>"$work/.err"
    code=${PIPESTATUS[1]}
    collect
}
collect() {
    out=$(tr -d '\0' <"$work/.out")
    err=$(tr -d '\0' <"$work/.err")
}
code() { if [ "$code" = "$1" ]; then pass; else fail "expected exit code $1"; fi; }
out() { if grep -qE -- "$1" "$work/.out"; then pass; else fail "expected on stdout: $1"; fi; }
err() { if grep -qE -- "$1" "$work/.err"; then pass; else fail "expected on stderr: $1"; fi; }
same() { if [ "$1" = "$2" ]; then pass; else fail "expected '$2', got '$1'"; fi; }
json() {
    if python3 -c 'import json, sys
j = json.load(open(sys.argv[1]))
sys.exit(0 if eval(sys.argv[2]) else 1)' "$work/.out" "$1" 2>"$work/.why"; then pass; else
        fail "expected of the JSON: $1 $(tail -1 "$work/.why")"
    fi
}
need_models() {
    smol=$src/models/SmolLM2-135M-Instruct.Q4_1.gguf
    minilm=$src/models/all-MiniLM-L6-v2
    if [ ! -e "$smol" ] || [ ! -e "$minilm" ]; then
        [ "${CI:-}" = true ] && { echo "missing in CI: the demo models"; exit 1; }
        echo "skipped: the demo models are not there (make models)"
        exit 77
    fi
}
finish() {
    echo "$(basename "$0"): $n_passed passed, $n_failed failed"
    [ "$n_failed" = 0 ]
    exit
}
