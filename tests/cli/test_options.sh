# Options, configuration, help, errors and exit codes: everything that needs no model.
. "$(dirname "$0")/lib.sh"

run "$hearth"; code 0; out '^usage: hearth COMMAND'
run "$hearth" --help; code 0; out '^usage: hearth COMMAND'
run "$hearth" --version; code 0; out '^hearth [0-9]+\.[0-9]+\.[0-9]+$'
run "$hearth" version --json; code 0; json 'j["cores"] >= 1 and j["version"]'
run "$hearth" help --json; code 0; json 'len(j["commands"]) >= 15'
commands=$("$hearth" help --json | python3 -c 'import json, sys; print(*[c["name"] for c in json.load(sys.stdin)["commands"]])')
for c in add ask chat search status remove embed rerank generate tokenize models perplexity bench config help version; do
    same "$(grep -cw "$c" <<<"$commands")" 1
done
for c in $commands; do
    run "$hearth" "$c" --help; code 0; out "^usage: hearth $c"
    run "$hearth" help "$c"; code 0; out '--threads N'
done

# wrong words: exit code 2, the word, the nearest right one, what to do
run "$hearth" asj; code 2; err "asj: no such command, did you mean 'ask'\?"
run "$hearth" help asj; code 2; err "did you mean 'ask'"
run "$hearth" status --treads 2; code 2; err '--treads: unknown option, did you mean --threads\?'; err 'hearth status --help'
run "$hearth" status --max-tokens 2; code 2; err '--max-tokens: not an option of this command'
run "$hearth" status --threads 0; code 2; err '--threads: 0 is out of range: threads must be from 1 to 256'
run "$hearth" status --threads; code 2; err '--threads: needs a value: --threads N'
run "$hearth" generate --temperature hot; code 2; err "'hot' is not a number"
run "$hearth" generate --top-p 1.5 --prompt x; code 2; err 'top-p must be from 0 to 1'
run "$hearth" ask; code 2; err 'ask: needs a question'
run "$hearth" ask ' '; code 2; err 'the question is empty'
run "$hearth" ask --order sideways x; code 2; err 'neither best-last nor best-first'
run "$hearth" status extra; code 2; err 'extra: one argument too many'
run "$hearth" remove; code 2; err 'needs either files or folders, or --all'
run "$hearth" status --threads 0 --json; code 2; json 'j["error"]["code"] == "usage" and j["error"]["place"] == "--threads" and j["error"]["hint"]'
same "$(wc -l <"$work/.out")" 1

# where values come from
run "$hearth" config --json
json '[o["origin"] for o in j["options"] if o["name"] == "threads"] == ["default"]'
json 'j["home"].endswith("/home/.local/share/hearth")'
mkdir -p "$HOME/.config/hearth"
printf '# mine\nthreads = 3\nhome = "%s/lib rary"\n' "$work" >"$HOME/.config/hearth/config"
run "$hearth" config --json
json '[(o["value"], o["origin"]) for o in j["options"] if o["name"] == "threads"] == [(3, "config")]'
json 'j["home"].endswith("/lib rary")'
printf 'HEARTH_THREADS=4\n' >.env
run "$hearth" config --json
json '[(o["value"], o["origin"]) for o in j["options"] if o["name"] == "threads"] == [(4, "environment")]'
run env HEARTH_THREADS=5 "$hearth" config --json
json '[o["value"] for o in j["options"] if o["name"] == "threads"] == [5]'
run env HEARTH_THREADS=5 "$hearth" --threads 6 config --json
json '[(o["value"], o["origin"]) for o in j["options"] if o["name"] == "threads"] == [(6, "command line")]'
run env HEARTH_THREADS=many "$hearth" config; code 2; err 'HEARTH_THREADS: .many. is not a whole number'
printf 'bad line\n' >.env
run "$hearth" config; code 2; err '\.env:1: expected a line of the form key = value'
rm .env
printf 'threads = 3\ntreads = 4\n' >"$HOME/.config/hearth/config"
run "$hearth" config; code 2; err "config:2: unknown key 'treads', did you mean 'threads'"
rm "$HOME/.config/hearth/config"
run "$hearth" config --config nowhere; code 3; err 'nowhere: no such configuration file'
run env -u HOME "$hearth" status; code 2; err 'HEARTH_HOME'
run env XDG_DATA_HOME=/x "$hearth" config --json; json 'j["home"] == "/x/hearth"'

# no library yet
run "$hearth" status --home "$work/none"; code 3; err 'hearth add FOLDER'
run "$hearth" remove --all --home "$work/none"; code 3
run test -e "$work/none"; code 1

# a reader that goes away, a disk that is full
(sleep 0.3; "$hearth" help 2>"$work/.err"; echo $? >"$work/rc") | true
sleep 0.6
same "$(cat "$work/rc")" 141
run sh -c "'$hearth' help >/dev/full"; code 5; err 'standard output: cannot write: No space left'
run sh -c "'$hearth' help >&-"; code 4

# colours only on a terminal
run "$hearth" help; same "$(grep -c $'\e' "$work/.out")" 0
# where no pseudo-terminal can be had (a bare chroot without /dev/pts) there is nothing to look at
if script -qec true /dev/null </dev/null >/dev/null 2>&1; then
    same "$(script -qec "'$hearth' help" /dev/null </dev/null | grep -c $'\e\[1m' | sed 's/^[1-9].*/some/')" some
    same "$(NO_COLOR=1 script -qec "'$hearth' help" /dev/null </dev/null | grep -c $'\e\[')" 0
    same "$(script -qec "'$hearth' help --no-color" /dev/null </dev/null | grep -c $'\e\[')" 0
fi
finish
