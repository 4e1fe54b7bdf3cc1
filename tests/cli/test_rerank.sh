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

cp -r "$model" xlmr
sed -i 's/"model_type": "bert"/"model_type": "xlm-roberta"/' xlmr/config.json
runs "$two" "$hearth" rerank --model xlmr --query dog; code 7; err "model_type 'xlm-roberta': its Unigram tokenizer"
cp -r "$model" act
sed -i 's/"model_type": "bert"/"model_type": "bert", "sbert_ce_default_activation_function": "torch.nn.modules.activation.Tanh"/' act/config.json
runs "$two" "$hearth" rerank --model act --query dog; code 7; err "activation 'torch.nn.modules.activation.Tanh'"
sed -i 's/activation.Tanh/linear.Identity/' act/config.json
runs "$two" "$hearth" rerank --model act --query dog --no-self-test; code 0
finish
