# The commands over models: tokenize, embed, generate, perplexity, bench, models; and model files that are missing, cut off,
# damaged, or lie about themselves.
. "$(dirname "$0")/lib.sh"
need_models

run "$hearth" models --json; code 0
json '{"llama", "bert"} <= {m["architecture"] for m in j}'
run "$hearth" models "$smol" --json
json 'j[0]["types"]["Q4_1"]["tensors"] == 210 and j[0]["parameters"] == 134515008 and j[0]["template"] and j[0]["context"] == 8192'
run "$hearth" models all-MiniLM-L6-v2 SmolLM2-135M; code 0; out 'WordPiece, 30,522 tokens'; out 'byte-level BPE \(smollm\)'

# tokenize: plain by default, specials on request, and back
runs 'Hello world' "$hearth" tokenize; code 0; same "$out" "19556 905"
runs 'Hello world' "$hearth" tokenize --model "$smol" --json; code 0; json 'j == [19556, 905]'
runs '<|im_start|>' "$hearth" tokenize --special; same "$out" 1
runs '<|im_start|>' "$hearth" tokenize --json; json '1 not in j and len(j) > 1'
runs 'Hello world' "$hearth" tokenize --model all-MiniLM-L6-v2; same "$out" "7592 2088"
runs 'Hello world' "$hearth" tokenize --model all-MiniLM-L6-v2 --special; same "$out" "101 7592 2088 102"
runs '19556 905' "$hearth" tokenize --decode; code 0; same "$out" "Hello world"
runs '[19556, 905]' "$hearth" tokenize --decode --json; json 'j == {"text": "Hello world", "valid_utf8": True}'
text=$'Zürich, 東京 \n\t🙂 done '
runs "$text" "$hearth" tokenize --json; ids=$out
runs "$ids" "$hearth" tokenize --decode; same "$(cat "$work/.out"; echo .)" "$text."
runs '' "$hearth" tokenize --json; code 0; json 'j == []'
runs '1 two' "$hearth" tokenize --decode; code 6; err "standard input:2: expected token ids, found 'two'"
runs '99999999' "$hearth" tokenize --decode; code 2; err '99999999 is no token id: the model has 0 to 49151'

# embed: lines in order, length 1, a bad line named
runs $'{"text": "good morning"}\n\n{"text": "hello"}\n' "$hearth" embed --model all-MiniLM-L6-v2; code 0
same "$(wc -l <"$work/.out")" 2
first=$(head -1 "$work/.out")
same "$(python3 -c 'import json, sys; v = json.loads(sys.argv[1])["embedding"]; print(len(v), round(sum(x * x for x in v), 4))' "$first")" "384 1.0"
runs $'{"text": "hello"}\n{"text": "good morning"}\n' "$hearth" embed; same "$(sed -n 2p "$work/.out")" "$first"
runs $'{"text": "hello"}\n{"txt": 1}\n{"text": "x"}\n' "$hearth" embed; code 6
err 'standard input, line 2: expected an object with a string "text"'; same "$(wc -l <"$work/.out")" 1
runs $'{"text": "hello"\n' "$hearth" embed --json; code 6; json 'j["error"]["place"] == "standard input, line 1"'
long=$(printf 'word %.0s' $(seq 600))
runs "{\"text\": \"$long\"}" "$hearth" embed; code 0; json 'j["truncated"] is True'; err '1 of 1 texts are longer'

# generate: raw and through the template; the same on any number of threads
run "$hearth" generate --model "$smol" --raw --prompt 'The capital of France is' --max-tokens 8 --temperature 0 --json; code 0
json 'j["text"].startswith(" Paris") and len(j["ids"]) == len(j["logprobs"]) == 8 and j["stop_reason"] == "length"'
json 'j["prompt_ids"] == [504, 3575, 282, 4649, 314] and all(p <= 0 for p in j["logprobs"])'
json 'j["timings"]["prompt_tokens"] == 5 and j["timings"]["generate_ms"] > 0'
raw=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["ids"])' "$work/.out")
run "$hearth" generate --threads 1 --raw --prompt 'The capital of France is' --max-tokens 8 --json; json "j['ids'] == $raw"
run "$hearth" generate --raw --prompt 'The capital of France is' --max-tokens 8; code 0; out '^ Paris'
run "$hearth" generate --prompt 'Say yes.' --max-tokens 4 --json; json 'j["prompt_ids"][0] == 1 and len(j["prompt_ids"]) > 20'
run "$hearth" generate --raw --prompt 'One, two, three,' --max-tokens 16 --stop ' five' --json
json '"five" not in j["text"] and j["stop_reason"] == "stop_string"'
run "$hearth" generate --raw --prompt 'Once' --max-tokens 6 --temperature 1 --seed 7 --n 2 --json
json 'len(j["choices"]) == 2 and j["choices"][0]["ids"] == j["ids"] and j["choices"][1]["ids"] != j["ids"]'
ids=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["ids"])' "$work/.out")
run "$hearth" generate --raw --prompt 'Once' --max-tokens 6 --temperature 1 --seed 7 --json; json "j['ids'] == $ids"
run "$hearth" generate --raw --prompt 'The capital of France is' --max-tokens 1 --logit-bias 7042=-inf --json; json '7042 not in j["ids"]'
run "$hearth" generate --prompt x --logit-bias 7042; code 2; err 'not of the form ID=BIAS'
run "$hearth" generate --raw --prompt x --ctx 64 --max-tokens 64; code 12; err 'context has 64'
run "$hearth" generate --prompt '' ; code 2; err 'the prompt is empty'
run "$hearth" generate --model all-MiniLM-L6-v2 --prompt x; code 7; err 'embeds texts, it does not generate'

# packed weights on disk: made once, used in place with the same numbers, listed, bounded, removed
paris=(generate --model "$smol" --raw --prompt 'The capital of France is' --max-tokens 8 --temperature 0 --logprobs 2 --json)
numbers='import json, sys; j = json.load(open(sys.argv[1])); print(j["ids"], j["logprobs"])'
run "$hearth" "${paris[@]}" --packed-cache off; code 0; json 'j["opening"]["weights"] == "packed" and j["opening"]["copy"] is None'
plain=$(python3 -c "$numbers" .out)
run "$hearth" "${paris[@]}" --packed-cache packed; json 'j["opening"]["weights"] == "packed, to be copied"'
same "$(python3 -c "$numbers" .out)" "$plain"
copy=$(echo packed/SmolLM2-135M-Instruct.Q4_1.gguf.*.hearth-packed); same "$(ls packed | wc -l)" 1
run "$hearth" "${paris[@]}" --packed-cache packed; json 'j["opening"]["weights"] == "copy" and j["opening"]["note"] is None'
json "j['opening']['copy'] == '$copy'"; same "$(python3 -c "$numbers" .out)" "$plain"
truncate -s 5000000 "$copy"
run "$hearth" "${paris[@]}" --packed-cache packed; json 'j["opening"]["note"] == "the packed copy was cut off and is made anew"'
same "$(python3 -c "$numbers" .out)" "$plain"
run "$hearth" models "$smol" --packed-cache packed --json; json "j[0]['packed_copy'] == {'path': '$copy', 'bytes': $(stat -c %s "$copy")}"
run "$hearth" models "$smol" --packed-cache packed; out "packed copy +$copy, [0-9.]+ MB"
run "$hearth" models all-MiniLM-L6-v2 --packed-cache packed --json; json 'j[0]["packed_copy"] is None'
run "$hearth" models all-MiniLM-L6-v2 --drop-cache --packed-cache packed --json; json 'j == []'
run "$hearth" models --drop-cache --packed-cache packed --json; json "[x['path'] for x in j] == ['$copy']"; same "$(ls packed | wc -l)" 0
run "$hearth" "${paris[@]}" --packed-cache packed --packed-cache-max 50; code 0; same "$(ls packed | wc -l)" 0
: >file; run "$hearth" "${paris[@]}" --packed-cache file/below; code 0; same "$(python3 -c "$numbers" .out)" "$plain"

# perplexity and bench
head -c 6000 "$src/LICENSE" >text
run "$hearth" perplexity --model "$smol" --file text --ctx 512; code 0; out '^[0-9]+\.[0-9]{4}$'
ppl=$out
run "$hearth" perplexity --file text --json; json "abs(j['perplexity'] - $ppl) < 1e-3 and j['ctx'] == 512 and j['windows'] >= 2"
run "$hearth" perplexity --file nowhere; code 3; err 'nowhere'
run "$hearth" bench --prompt 32 --gen 4 --repeats 2 --depth 8 --threads 1 --json; code 0
json 'j["threads"] == 1 and j["isa"] and all(r["best"] >= r["median"] > 0 for r in j["rows"])'
json 'any(k["type"] == "Q4_1" and k["path"] and not k["plain"] for k in j["kernels"])'
run "$hearth" bench --model all-MiniLM-L6-v2 --prompt 32,64 --repeats 1 --json; code 0
json '[(r["test"], r["texts"], r["tokens"]) for r in j["rows"]] == [("embed", 32, 1024), ("embed", 32, 2048), ("query", 1, 16)]'

# missing, cut off, not a model, and headers that lie
run "$hearth" generate --model nowhere --prompt x; code 3; err 'nowhere: no such model'; err 'hearth models'
run "$hearth" generate --model ./nowhere.gguf --prompt x; code 3; err 'no such model file'
run "$hearth" models "$src/LICENSE"; code 6; err "expected 'GGUF'"
head -c 5000000 "$smol" >cut.gguf
run "$hearth" generate --model cut.gguf --prompt x; code 6; err 'cut\.gguf'
head -c 100 "$smol" >short.gguf
run "$hearth" models short.gguf --json; code 6; json 'j["error"]["code"] == "format"'
: >empty.gguf
run "$hearth" models empty.gguf; code 6
mkdir folder.gguf
run "$hearth" models folder.gguf; same "$([ "$code" = 3 ] || [ "$code" = 6 ] && echo ok)" ok
python3 - <<'PY'
import struct
def u32(n): return struct.pack("<I", n)
def u64(n): return struct.pack("<Q", n)
def string(s): return u64(len(s)) + s
head = b"GGUF" + u32(3)
arch = string(b"general.architecture") + u32(8) + string(b"llama")
def tensor(name, dims, kind, offset):
    return string(name) + u32(len(dims)) + b"".join(u64(d) for d in dims) + u32(kind) + u64(offset)
def whole(tensors, data=4096):
    b = head + u64(len(tensors)) + u64(1) + arch + b"".join(tensors)
    return b + b"\0" * (-len(b) % 32 + data)
files = {
    "count": head + u64(2**60) + u64(1) + arch,
    "keys": head + u64(0) + u64(2**62) + arch,
    "string": head + u64(0) + u64(1) + u64(2**60) + b"x" * 64,
    "value": head + u64(0) + u64(1) + string(b"general.name") + u32(8) + u64(2**63) + b"x",
    "array": head + u64(0) + u64(1) + string(b"a") + u32(9) + u32(4) + u64(2**61),
    "kind": head + u64(0) + u64(1) + string(b"a") + u32(99) + b"\0" * 64,
    "nested": head + u64(0) + u64(1) + string(b"a") + (u32(9) + u32(9) + u64(1)) * 5000,
    "version": b"GGUF" + u32(77) + u64(0) + u64(0),
    "offset": whole([tensor(b"token_embd.weight", [32, 32], 0, 2**50)]),
    "dims": whole([tensor(b"token_embd.weight", [2**40, 2**40], 0, 0)]),
    "overlap": whole([tensor(b"a", [32, 8], 0, 0), tensor(b"b", [32, 8], 0, 32)]),
    "twice": whole([tensor(b"a", [32, 8], 0, 0), tensor(b"a", [32, 8], 0, 1024)]),
    "type": whole([tensor(b"a", [32, 8], 200, 0)]),
    "align": whole([tensor(b"a", [32, 8], 0, 1)]),
}
for name, data in files.items():
    open(f"lie-{name}.gguf", "wb").write(data)
PY
# 4 GB at most; the address sanitizer reserves terabytes of addresses, so that there the limit is one on each allocation
limit='ulimit -v 4000000;'
grep -qa __asan_init "$hearth" && limit=
for f in lie-*.gguf; do
    run env ASAN_OPTIONS=max_allocation_size_mb=4000 sh -c "$limit '$hearth' models $f --json"
    same "$([ "$code" = 6 ] || [ "$code" = 7 ] || [ "$code" = 8 ] && echo refused)" refused
    json 'j["error"]["place"].startswith("lie-") and j["error"]["message"]'
    run "$hearth" generate --model $f --prompt x
    same "$([ "$code" = 6 ] || [ "$code" = 7 ] || [ "$code" = 8 ] && echo refused)" refused
done
# weights that were flipped in the middle are still numbers, but a directory without its tokenizer is no model
mkdir bare && ln -s "$minilm"/*.safetensors "$minilm"/config.json bare/
run "$hearth" embed --model bare; same "$([ "$code" = 3 ] || [ "$code" = 6 ] || [ "$code" = 7 ] && echo refused)" refused; err 'vocab\.txt|tokenizer'

# a tokenizer without a template: generate says so and names --raw, which works
python3 - "$smol" <<'PY'
import sys
data = bytearray(open(sys.argv[1], "rb").read())
at = data.index(b"tokenizer.chat_template")
data[at:at + 23] = b"tokenizer.chat_templatX"
open("plain.gguf", "wb").write(data)
PY
run "$hearth" models plain.gguf --json; json 'j[0]["template"] is False'
run "$hearth" generate --model plain.gguf --prompt x; code 7; err 'template'; err '--raw'
run "$hearth" generate --model plain.gguf --raw --prompt 'The capital of France is' --max-tokens 2; code 0; out 'Paris'
# ask and chat say so before the first question; a template that cannot be run is named with its file and line
export HEARTH_HOME=$work/library
run "$hearth" add "$src/examples/capital"; code 0
for c in 'ask x' chat; do
    run "$hearth" $c --model plain.gguf; code 7; err 'plain\.gguf: the model has no chat template'; err 'hearth models'
done
python3 - "$smol" <<'PY'
import sys
data = bytearray(open(sys.argv[1], "rb").read())
at = data.index(b"tokenizer.chat_template") + 23 + 4 + 8
data[at:at + 21] = b"{% for x in %}{{ y }}"
open("broken.gguf", "wb").write(data)
PY
run "$hearth" ask --model broken.gguf x; code 6; err 'broken\.gguf: chat template: template line 1: '
finish
