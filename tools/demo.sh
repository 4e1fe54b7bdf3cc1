#!/bin/bash
# make demo: from a fresh Debian to cited answers out of a real library. Each step is skipped when its work is done, so the
# second run takes seconds. DEMO_HOME names another data directory, DEMO_DOCS another folder of documents.
set -euo pipefail
cd "$(dirname "$0")/.."
docs=${DEMO_DOCS:-/usr/share/doc/postgresql-doc-15/html}
export HEARTH_HOME=${DEMO_HOME:-$PWD/demo-home}
questions=(
    "What does the pg_hba.conf file control?"
    "What does VACUUM FULL do?"
    "What does pg_dump do?"
    "Who wrote the novel Dracula?" # the manual does not say, so neither does hearth
)

bold='' dim='' cyan='' reset=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' dim=$'\e[2m' cyan=$'\e[36m' reset=$'\e[0m'
fi
progress=plain
[ -t 2 ] && progress=auto

step() { printf '%s%s %s%s\n' "$bold$cyan" "$1" "$2" "$reset"; }

step '1/5' 'Debian packages'
tools/deps.sh demo
step '2/5' 'build'
make --no-print-directory build | sed -n '/Re-checking\|no work to do/!s/^/  /p'
step '3/5' 'models'
tools/models.sh
build/hearth models --json | python3 -c '
import json, sys
for m in json.load(sys.stdin):
    print("  {path}: {architecture}, {parameters:,} parameters, {size:.0f} MB".format(size=m["file_bytes"] / 1e6, **m))'
step '4/5' "index $docs"
build/hearth add --progress "$progress" "$docs" | sed 's/^/  /'
step '5/5' 'questions'
for question in "${questions[@]}"; do
    printf '\n%s> %s%s\n\n' "$bold" "$question" "$reset"
    build/hearth ask "$question" || [ $? = 13 ]
done

printf '\n%sNow yours:%s\n' "$bold" "$reset"
[ "$HEARTH_HOME" = "$PWD/demo-home" ] && printf '  export HEARTH_HOME=%s\n' "$HEARTH_HOME"
printf '  build/hearth ask "a question about PostgreSQL"\n'
printf '  build/hearth chat\n'
printf '  build/hearth add ~/Documents %s(with --home DIR: into a library of its own)%s\n' "$dim" "$reset"
