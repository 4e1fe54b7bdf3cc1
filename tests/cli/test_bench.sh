# hearth bench on the tiny models of the tests: rows, fields, ceilings, options that are refused.
. "$(dirname "$0")/lib.sh"
tiny=$src/tests/golden/data/tiny

run "$hearth" bench --model "$tiny/llama" --prompt 40,7 --gen 3 --depth 0,20,5 --repeats 3 --threads 2 --json; code 0
json '[(r["test"], r["tokens"], r["depth"]) for r in j["rows"]] == [(t, n, d) for d in (0, 20, 5) for t, n in (("prompt", 40), ("prompt", 7), ("generate", 3))]'
json 'all(len(r["seconds"]) == 3 and r["seconds"] == sorted(r["seconds"]) and r["seconds"][0] > 0 for r in j["rows"])'
json 'all(abs(r["best"] - r["tokens"] / r["seconds"][0]) < 1e-3 * r["best"] and abs(r["median"] - r["tokens"] / r["seconds"][1]) < 1e-3 * r["median"] for r in j["rows"])'
# the ceiling is what the slower of products and reading allows
json 'all(abs(r["ceiling"] - r["tokens"] / max(r["operations"] / r["operations_s"], r["bytes"] / r["set_bytes_s"])) < 1e-3 * r["ceiling"] for r in j["rows"])'
json 'all(abs(r["share"] - r["best"] / r["ceiling"]) < 1e-6 and r["limit"] in ("products", "reading") for r in j["rows"])'
json 'all(r["memory_bytes_s"] > 1e8 and r["operations_s"] > 1e8 for r in j["rows"])'
# depth costs its keys and values: 2 layers of 2 heads of 16 numbers, keys and values, 2 bytes each, and a scale for each head
json '(j["rows"][5]["bytes"] - j["rows"][2]["bytes"]) == 3 * 20 * 2 * 2 * 2 * (16 * 2 + 4)'
json 'j["threads"] == 2 and j["kv_type"] == "f16" and j["isa"] and j["load_ms"] > 0 and j["probe_bytes"] >= 1 << 26'
json '[(k["type"], k["matrices"], k["plain"]) for k in j["kernels"]] == [("BF16", 9, False)]'

run "$hearth" bench --model "$tiny/llama" --prompt 0 --gen 2 --depth 10 --repeats 1 --type-k f32 --type-v f32 --exact --pin --json; code 0
json 'j["pinned"] and j["kv_type"] == "f32" and len(j["rows"]) == 1 and all(k["plain"] for k in j["kernels"])'
run "$hearth" bench --model "$tiny/llama" --prompt 16 --gen 2 --repeats 1; code 0
out '^  prompt +16 +0 .*%'; out '^  generate +2 +0 .*%'; out '^  BF16 +9 matrices:'
run "$hearth" bench --model "$tiny/llama" --prompt 16 --gen 0 --repeats 1 --exact; code 0; out 'slow: no packed path'
run "$hearth" bench --model "$tiny/bert-mean" --prompt 12 --repeats 2 --json; code 0
json '[r["test"] for r in j["rows"]] == ["embed", "query"] and j["kv_type"] is None and j["rows"][0]["texts"] == 32'
run "$hearth" bench --model "$tiny/bert-rerank" --prompt 50,30 --repeats 2 --json; code 0
json '[(r["test"], r["texts"]) for r in j["rows"]] == [("rerank", 20)] * 2 and 20 * 3 < j["rows"][0]["tokens"] <= 20 * 64'
run "$hearth" bench --model "$tiny/xlmr-rerank" --prompt 50 --repeats 2 --json; code 0
json '[(r["test"], r["texts"]) for r in j["rows"]] == [("rerank", 20)]'
echo '{"query":"dog","documents":["rows","the lazy dog"]}' >request
run "$hearth" bench --model "$tiny/bert-rerank" --file request --repeats 2 --json; code 0
json '[(r["test"], r["texts"], r["tokens"]) for r in j["rows"]] == [("rerank", 2, 12)]'
echo '{"query":"dog","documents":["rows",7]}' >request
run "$hearth" bench --model "$tiny/bert-rerank" --file request; code 6; err 'expected \{"query"'

run "$hearth" bench --model "$tiny/llama" --prompt 0 --gen 0; code 2; err 'nothing to measure'
run "$hearth" bench --model "$tiny/llama" --prompt 12,x; code 2; err "'12,x' is no number from 0 to"
run "$hearth" bench --model "$tiny/llama" --gen ''; code 2; err '--gen'
run "$hearth" bench --model "$tiny/llama" --depth 1,,2; code 2; err '--depth'
run "$hearth" bench --model "$tiny/llama" --prompt 99999999999; code 2; err '--prompt'
run "$hearth" bench --model "$tiny/llama" --prompt 1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1; code 2; err 'at most 16'
run "$hearth" bench --model "$tiny/llama" --type-k f16 --type-v q8_0; code 7; err 'keys in f16 and values in q8_0'
run "$hearth" bench --model "$tiny/llama" --type-k q4_0; code 2; err "'q4_0' is not f16, q8_0 or f32"
run "$hearth" bench --model "$tiny/llama" --prompt 300; code 2; err 'trained for 256'
finish
