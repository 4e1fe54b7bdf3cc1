# add and what can go wrong with it: bad files, another model, a held database, a full disk, ctrl-C.
. "$(dirname "$0")/lib.sh"
need_models
export HEARTH_HOME=$work/library

# kinds, changes, removals
mkdir -p docs/sub docs/.hidden
printf 'The harbour of Brest was dredged in 1874.\n' >docs/brest.txt
printf '# Lamps\n\nThe lamp oil is kept in the north shed.\n' >docs/sub/lamps.md
printf '<html><title>Ropes</title><body><h1>Ropes</h1><p>Hemp ropes last four years.</p></body></html>' >docs/ropes.html
printf 'never read\n' >docs/.hidden/x.txt
run "$hearth" add --dry-run docs; code 0; out '^added +.*/docs/brest\.txt'
run "$hearth" status --json; json 'j["documents"] == 0'
run "$hearth" add docs --json; code 0; json 'j["report"]["added"] == 3 and j["report"]["failed"] == 0'
json 'sorted(e["uri"].rsplit("/", 1)[1] for e in j["events"]) == ["brest.txt", "lamps.md", "ropes.html"]'
run "$hearth" add docs --json; json 'j["report"]["added"] == 0 and j["report"]["skipped"] == 3 and j["events"] == []'
printf 'The harbour of Brest was dredged in 1902.\n' >docs/brest.txt
rm docs/ropes.html
run "$hearth" add --json; code 0; json 'j["report"]["changed"] == 1 and j["report"]["removed"] == 1 and j["report"]["skipped"] == 1'
run "$hearth" ask "When was the harbour of Brest dredged?"; code 0; out '1902'; same "$(grep -c 1874 "$work/.out")" 0
run "$hearth" add docs; code 0; out '0 added, 0 changed, 0 removed, 2 unchanged'; same "$err" ""

# files that are not what they say: the rest goes on, status keeps the reason
printf 'not a pdf at all' >docs/fake.pdf
head -c 4000 /dev/urandom >docs/noise.txt
: >docs/empty.txt
run "$hearth" add docs --json; code 0; json 'j["report"]["failed"] >= 2 and any(e["action"] == "failed" and e["uri"].endswith("fake.pdf") for e in j["events"])'
err 'fake\.pdf'
run "$hearth" status --json; json 'any(f["uri"].endswith("fake.pdf") and f["message"] for f in j["failures"]) and j["advice"]'
run "$hearth" status; code 0; out 'fake\.pdf'
rm docs/fake.pdf docs/noise.txt docs/empty.txt
run "$hearth" add docs; code 0
run "$hearth" status --json; json 'j["failures"] == []'
mkdir nothing && printf 'x' >nothing/file.xyz123 && printf '\x7fELF\x01\x00' >nothing/program
mkdir vacant alone && printf 'not a pdf at all' >alone/fake.pdf && head -c 4000 /dev/urandom >alone/noise.txt
run "$hearth" add nowhere; code 3; err 'nowhere'
run "$hearth" add vacant; code 3; err 'vacant: no file here that hearth can read'; err 'reads text, Markdown, HTML and PDF'
run "$hearth" add nothing; code 3; err 'nothing: no file here that hearth can read \(2 of other kinds\)'
run "$hearth" add nothing/program; code 3; err 'nothing/program: no file here'
# one bad file among good ones is reported; when there is nothing else, the command fails with its reason's code
run "$hearth" add alone/fake.pdf; code 6; err 'alone/fake\.pdf: not a PDF: it does not begin with %PDF-'; out '0 added.* 1 failed'
run "$hearth" add alone/noise.txt --json; code 7; json 'j["report"]["failed"] == 1 and j["events"][0]["code"] == "unsupported"'
run "$hearth" add docs alone; code 0; out '2 failed'
run "$hearth" remove alone; code 0; out '^0 documents removed, 2 failures forgotten$'; run "$hearth" remove alone; code 3
run "$hearth" status --json; json 'j["failures"] == [] and j["documents"] == 2'

# an index that is damaged mends itself
printf 'garbage' >library/vectors.bin
run "$hearth" search --json harbour; code 0; json 'len(j["results"]) == 2'
rm library/vectors.bin
run "$hearth" search --json harbour; code 0

# another embedding model: refused, and the library is as before
mkdir other other/1_Pooling
ln -s "$minilm"/*.* other/
sed 's/"pooling_mode_cls_token": false/"pooling_mode_cls_token": true/; s/"pooling_mode_mean_tokens": true/"pooling_mode_mean_tokens": false/' \
    "$minilm/1_Pooling/config.json" >other/1_Pooling/config.json
run "$hearth" add --embed-model ./other docs; code 11; err 'all-MiniLM-L6-v2'; err '--embed-model'
run "$hearth" ask --embed-model ./other "When was the harbour of Brest dredged?"; code 11
run "$hearth" ask "When was the harbour of Brest dredged?"; code 0
run "$hearth" remove --all; code 0
run "$hearth" add --embed-model ./other docs; code 0
run "$hearth" remove --all; run "$hearth" add docs; code 0

# held by another process
flock library/lock sleep 8 &
holder=$!
sleep 0.3
run "$hearth" add docs; code 10; err 'another hearth'
run "$hearth" ask "When was the harbour of Brest dredged?"; code 0
kill $holder; wait $holder 2>/dev/null
python3 - <<'PY' &
import glob, sqlite3, time
db = sqlite3.connect(glob.glob("library/*.db")[0] if glob.glob("library/*.db") else glob.glob("library/*.sqlite*")[0])
db.execute("BEGIN EXCLUSIVE")
open("held", "w").close()
time.sleep(9)
PY
holder=$!
while [ ! -e held ]; do sleep 0.1; done
printf 'one more\n' >docs/more.txt
run "$hearth" add docs; code 10; err 'hearth: error'
wait $holder
run "$hearth" add docs; code 0; out '1 added'

# not a database at all, and one from the future
mkdir strange && printf 'this is no database, although it lies where one should be' >strange/"$(basename "$(ls library/*.db library/*.sqlite* 2>/dev/null | head -1)")"
run "$hearth" status --home strange; code 6

# ctrl-C in the middle: exit code 130, what was done stays, the next add goes on
mkdir many
for i in $(seq 400); do printf 'Barrel %d holds %d litres of cider and stands in row %d.\n' "$i" $((i * 7)) $((i % 9)) >many/$i.txt; done
export HEARTH_HOME=$work/second
(exec "$hearth" add many --threads 1 >.out 2>.err) &
pid=$!
for i in $(seq 100); do [ -s second/vectors.bin ] && break; ls second/*-wal >/dev/null 2>&1 && break; sleep 0.05; done
sleep 0.3
kill -INT $pid
wait $pid
code=$? what='add, then SIGINT'
collect
same "$([ "$code" = 130 ] || [ "$code" = 0 ] && echo stopped)" stopped
[ "$code" = 130 ] && err 'goes on'
run "$hearth" status --json; code 0; done_before=$(python3 -c 'import json; print(json.load(open(".out"))["documents"])')
run "$hearth" add many --json; code 0; json "j['report']['added'] == 400 - $done_before and j['report']['skipped'] == $done_before"
(exec "$hearth" add many docs >/dev/null 2>&1) &
pid=$!
sleep 0.2
kill -9 $pid; wait $pid 2>/dev/null
run "$hearth" add many docs; code 0
run "$hearth" status --json --verify; code 0; json 'j["documents"] == 403'

# a full disk: exit code 5, then room, then the same command
if [ "$(id -u)" = 0 ] && mkdir disk && mount -t tmpfs -o size=256k none disk 2>/dev/null; then
    export HEARTH_HOME=$work/disk/library
    run "$hearth" add many; code 5; err 'hearth: error'; err 'free some space'
    mount -o remount,size=64m disk
    run "$hearth" add many; code 0
    run "$hearth" status --json --verify; code 0; json 'j["documents"] == 400'
    umount disk
fi
export HEARTH_HOME=$work/quota
run bash -c "ulimit -f 200; exec '$hearth' add many"; code 5
run "$hearth" add many; code 0
run "$hearth" status --json --verify; json 'j["documents"] == 400'
run env HEARTH_HOME=/proc/none "$hearth" add docs; same "$([ "$code" = 3 ] || [ "$code" = 4 ] && echo refused)" refused
finish
