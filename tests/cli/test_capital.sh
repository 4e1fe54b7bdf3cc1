# One folder, one file, one question: the whole way from add to a cited answer, also without a network.
. "$(dirname "$0")/lib.sh"
need_models
export HEARTH_HOME=$work/library
cp -r "$src/examples/capital" docs
file=$work/docs/france.txt

run "$hearth" add docs --json; code 0
json 'j["report"]["added"] == 1 and j["report"]["chunks"] == 1 and j["report"]["failed"] == 0'
run "$hearth" ask "What is the capital of France?"; code 0
out '^The capital of France is Paris\. \[1\]|Paris is the capital of France.*\[1\]'
out "$file, bytes [0-9]+-[0-9]+"
out '"Paris is the capital of France and its largest city\."'
out 'Time .*embed .*search .*prompt .*generate .*total'
same "$(grep -c $'\e' "$work/.out")" 0
run "$hearth" ask --json "What is the capital of France?"; code 0
json '"Paris" in j["answer"] and "[1]" in j["answer"] and j["refused"] is False'
json 'j["citations"][0]["uri"].endswith("/docs/france.txt") and j["citations"][0]["quote"].startswith("Paris is the capital of France")'
# the range of bytes is where the quote stands, word for word
json 'open("'"$file"'", "rb").read()[j["citations"][0]["start"]:j["citations"][0]["end"]].decode() == j["citations"][0]["quote"]'
json 'j["stages_ms"]["total"] > 0 and j["tokens"]["prompt"] > 0'
# the library tells the capital of another country, and mentions this one
run "$hearth" ask "What is the capital of Germany?"; code 13; out 'No evidence: no sentence that was found tells the capital of Germany'
run "$hearth" ask --threads 1 --json What is the capital of France; code 0; json '"Paris" in j["answer"]'

# nothing relevant: a refusal with its own exit code, and the model is not called
run "$hearth" ask "Who won the football world cup in 1998?"; code 13; out '^No evidence: no passage'; same "$err" ""
run "$hearth" ask --json "Who won the football world cup in 1998?"; code 13
json 'j["refused"] is True and j["reason"] and j["citations"] == [] and j["tokens"]["generated"] == 0'

run "$hearth" search --json -k 3 "largest city"; code 0
json 'len(j["results"]) == 1 and j["results"][0]["rank"] == 1 and "Paris" in j["results"][0]["text"]'
run "$hearth" search "largest city"; code 0; out '^1\. '; out "$file, bytes"
run "$hearth" status --json; code 0
json 'j["documents"] == 1 and j["chunks"] == 1 and j["failures"] == [] and j["embedder"]["name"] == "all-MiniLM-L6-v2"'
run "$hearth" status --verify; code 0; out '^documents +1 '

# chat in a pipe: a line is a question; /sources, /reset and /quit are not
runs $'What is the capital of France?\n/sources\n/nonsense\n/reset\n/quit\nnever asked\n' "$hearth" chat
code 0; out 'Paris.*\[1\]'; out '"Paris is the capital'; out 'unknown command /nonsense'; same "$(grep -c never "$work/.out")" 0
runs $'What is the capital of France?\nAnd its second largest city?\n' "$hearth" chat --json
code 0; same "$(wc -l <"$work/.out")" 2
same "$(sed -n 1p "$work/.out" | python3 -c 'import json, sys; print("Paris" in json.load(sys.stdin)["answer"])')" True
runs $'What is the capital of France?\n/sources\n/nonsense\n/help\n/reset\n' "$hearth" chat --json
code 0; same "$(wc -l <"$work/.out")" 2; err 'unknown command /nonsense'
same "$(sed -n 2p "$work/.out" | python3 -c 'import json, sys; print(json.load(sys.stdin)["citations"][0]["quote"][:5])')" Paris

# the same in a namespace without a network
if unshare -n true 2>/dev/null; then
    for how in "unshare -n" "unshare -n env HEARTH_HOME=$work/offline"; do
        run $how "$hearth" add docs; code 0
        run $how "$hearth" ask "What is the capital of France?"; code 0; out 'Paris'
    done
fi
if command -v strace >/dev/null && strace -o "$work/trace" true 2>/dev/null; then
    # the leak sanitizer cannot work under a tracer
    run env ASAN_OPTIONS=detect_leaks=0 strace -f -e trace=network -o "$work/trace" "$hearth" ask "What is the capital of France?"
    code 0; same "$(grep -cE 'AF_INET|connect\(' "$work/trace")" 0
fi

# a PDF's citation has its page, a heading path has all its headings
mkdir paper
python3 - <<'PY'
def page(text):
    body = b"BT /F1 12 Tf 72 700 Td (" + text + b") Tj ET"
    return b"<< /Length %d >>\nstream\n" % len(body) + body + b"\nendstream"
kids = [b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R /Resources << /Font << /F1 3 0 R >> >> >>" % n for n in (6, 7)]
objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [4 0 R 5 0 R] /Count 2 >>",
           b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>", *kids,
           page(b"The harbour was dredged in the year 1874 by two steam ships."), page(b"The lighthouse keeper is called Ambrose Finch.")]
out, at = b"%PDF-1.4\n", []
for i, o in enumerate(objects):
    at.append(len(out))
    out += b"%d 0 obj\n" % (i + 1) + o + b"\nendobj\n"
start = len(out)
out += b"xref\n0 8\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % a for a in at)
open("paper/harbour.pdf", "wb").write(out + b"trailer << /Size 8 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % start)
PY
printf '# Pumps\n\n## Water\n\nThe pump runs at 12 bar and must be primed twice.\n' >paper/pumps.md
run "$hearth" add --home "$work/papers" paper --json; code 0; json 'j["report"]["added"] == 2 and j["report"]["pages"] == 2'
run "$hearth" ask --home "$work/papers" "What is the lighthouse keeper called?"; code 0; out 'Ambrose Finch'; out 'paper/harbour\.pdf, page 2, bytes [0-9]+-[0-9]+'
run "$hearth" ask --home "$work/papers" --json "At what pressure does the pump run?"; code 0
json 'j["citations"][0]["heading"] == "Pumps > Water" and j["citations"][0]["page"] == 0 and "12 bar" in j["citations"][0]["quote"]'

# a document that is gone stops answering
rm docs/france.txt
printf 'Rome is the capital of Italy.\n' >docs/italy.txt
run "$hearth" add docs --json; code 0; json 'j["report"]["added"] == 1 and j["report"]["removed"] == 1'
run "$hearth" ask "What is the capital of France?"; code 13
run "$hearth" remove docs; code 0; out '^1 document removed'
run "$hearth" ask "What is the capital of Italy?"; code 3; err 'the library is empty'; err 'hearth add FOLDER'
finish
