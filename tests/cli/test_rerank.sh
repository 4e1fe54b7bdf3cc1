# hearth rerank: both forms of input, order, truncation, what is refused.
. "$(dirname "$0")/lib.sh"

model=$src/tests/golden/data/tiny/bert-rerank
two='{"text":"rows"}
{"text":"the lazy dog"}
'
# the model is random: the self-test refuses it
runs "$two" "$hearth" rerank --model "$model" --query dog; code 7; err 'it cannot rank'; err 'no-self-test'; same "$out" ''
rank=("$hearth" rerank --model "$model" --no-self-test)

runs "$two" "${rank[@]}" --query dog --exact; code 0; same "$out" $'1\t0.644371\t0.5944\n0\t0.632599\t0.5434'
runs "$two" "${rank[@]}" --query dog --json; code 0
json '[r["index"] for r in j["results"]] == [1, 0] and j["tokens"] == 12 and j["truncated"] == 0'
json 'abs(j["results"][0]["logit"] - 0.59438455) < 5e-3'
json 'all(abs(r["score"] - 1 / (1 + 2.718281828459045 ** -r["logit"])) < 1e-6 for r in j["results"])'
json 'all(list(r) == ["index", "score", "logit"] for r in j["results"])'
runs "$two" "${rank[@]}" --query dog --json -k 1; code 0; json '[r["index"] for r in j["results"]] == [1]'
runs "$two" env HEARTH_RERANK_MODEL="$model" "$hearth" rerank --no-self-test --query dog --embed-precision int8 --json
code 0; json '[r["index"] for r in j["results"]] == [1, 0]'
printf '{"query":"dog","documents":["rows",{"text":"the lazy dog"}]}\n' >requests
runs "$(cat requests requests)" "${rank[@]}"; code 0; same "$(cut -f1 <<<"$out")" $'1\n0\n\n1\n0'
long=$(printf 'planner %.0s' {1..100})
runs "{\"query\":\"dog\",\"documents\":[\"$long\",\"dog\"]}" "${rank[@]}" --json; code 0
json '{r["index"]: r.get("truncated") for r in j["results"]} == {0: "document", 1: None} and j["truncated"] == 1'
err '1 of 2 pairs are longer than the 64 tokens'
runs "{\"query\":\"$long\",\"documents\":[\"dog\"]}" "${rank[@]}" --json; json 'j["results"][0]["truncated"] == "query"'

runs "$two" "$hearth" rerank --query dog; code 2; err '--model: name a reranker'
runs '' "${rank[@]}" --query dog; code 6; err '0 documents'
runs '' "${rank[@]}"; code 0; same "$out" ''
runs '{"query":"dog"}' "${rank[@]}"; code 6; err 'line 1: expected an object with a string "query" and an array "documents"'
runs '{"query":"dog","documents":["a",7]}' "${rank[@]}"; code 6; err 'document 1 is neither'
runs $'{"text":"a"}\n\n{"text"' "${rank[@]}" --query dog; code 6; err 'line 3: no valid JSON'
runs $'{"text":"a"}' "$hearth" rerank --query dog --model "$src/tests/golden/data/tiny/bert-mean"; code 7; err 'no head that scores pairs'
runs $'{"text":"a"}' "$hearth" rerank --query dog --model "$src/tests/golden/data/tiny/llama"; code 7; err '"yes" is not one token but 3'
same "$(grep -c no-self-test <<<"$err")" 0

# a language model that says yes or no
causal=$src/tests/golden/data/tiny/qwen3-rerank
rank=("$hearth" rerank --model "$causal" --no-self-test --query dog)
runs "$two" "${rank[@]}" --exact --json; code 0; json '[r["index"] for r in j["results"]] == [0, 1] and j["tokens"] == 156'
json 'abs(j["results"][1]["logit"] + 2.7205534) < 2e-5'
runs "$two" "${rank[@]}" --json --instruction 'find animals'; code 0; json 'j["tokens"] < 156'
runs "$two" "$hearth" rerank --model "$model" --no-self-test --query dog --instruction x; code 7; err 'takes no instruction'
runs "$two" "$hearth" rerank --model "$causal/qwen3-rerank.gguf" --query dog --no-self-test --json; code 0
json 'abs(j["results"][1]["logit"] + 2.7205534) < 3e-2'
runs "$two" "$hearth" generate --model "$causal/qwen3-rerank.gguf" --prompt x; code 7; err 'ranks texts, it does not generate'

# XLM-RoBERTa: <s> query </s></s> document </s>, a Unigram tokenizer, no token types
xlmr=$src/tests/golden/data/tiny/xlmr-rerank
runs "$two" "$hearth" rerank --model "$xlmr" --query dog; code 7; err 'it cannot rank: .* the answer got the logit 1\.72., a recipe 1\.90.'
runs "$two" "$hearth" rerank --model "$xlmr" --no-self-test --query dog --exact; code 0; same "$out" $'0\t0.789021\t1.3190\n1\t0.788483\t1.3158'
runs "$two" "$hearth" rerank --model "$xlmr/xlmr-rerank.gguf" --no-self-test --query dog --json; code 0
json 'all(abs(r["logit"] - [1.3190, 1.3158032][r["index"]]) < 5e-3 for r in j["results"]) and j["tokens"] == 22'
runs "{\"query\":\"dog\",\"documents\":[\"$long\",\"dog\"]}" "$hearth" rerank --model "$xlmr" --no-self-test --json; code 0
json '{r["index"]: r.get("truncated") for r in j["results"]} == {0: "document", 1: None}'; err '1 of 2 pairs are longer than the 64 tokens'
runs $'{"text":"a"}' "$hearth" rerank --query dog --model "$src/tests/golden/data/tiny/xlmr-mean"; code 7; err 'no head that scores pairs'
runs 'ａ ﬁne the dog <mask>' "$hearth" tokenize --model "$xlmr" --special; code 0; same "$out" '0 11 94 47 6 7 154 34 421 2'
runs '11 94 47 6 7 154 34' "$hearth" tokenize --model "$xlmr" --decode; code 0; same "$out" 'a fine the dog'
runs $'{"text":"dog"}\n' "$hearth" embed --model "$src/tests/golden/data/tiny/xlmr-cls" --exact; code 0
json 'len(j["embedding"]) == 32 and abs(sum(x * x for x in j["embedding"]) - 1) < 1e-5'
run "$hearth" models "$xlmr" "$xlmr/xlmr-rerank.gguf"; code 0; same "$(grep -c 'SentencePiece Unigram, 422 tokens' <<<"$out")" 2
cp -r "$model" other
sed -i 's/"model_type": "bert"/"model_type": "deberta-v2"/' other/config.json
runs "$two" "$hearth" rerank --model other --query dog; code 7; err "model_type 'deberta-v2'"
cp -r "$xlmr" cut
sed -i 's/"max_position_embeddings": 66/"max_position_embeddings": 2/' cut/config.json
runs "$two" "$hearth" rerank --model cut --query dog; code 6; err "'max_position_embeddings' is 2, 2 are unused"
cp -r "$model" act
sed -i 's/"model_type": "bert"/"model_type": "bert", "sbert_ce_default_activation_function": "torch.nn.modules.activation.Tanh"/' act/config.json
runs "$two" "$hearth" rerank --model act --query dog; code 7; err "activation 'torch.nn.modules.activation.Tanh'"
sed -i 's/activation.Tanh/linear.Identity/' act/config.json
runs "$two" "$hearth" rerank --model act --query dog --no-self-test; code 0
finish
