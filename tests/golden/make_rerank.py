#!/usr/bin/env python3
"""Makes tests/golden/data/tiny/bert-rerank/, a cross-encoder with random weights, and the same one as bert-rerank.gguf in
it (names of BERT's pooler and label as llama.cpp has them: cls, cls.output). reference.json holds pairs with the ids that
the tokenizer of transformers makes of them (64 tokens at most, "longest_first") and the logits that
BertForSequenceClassification gives from the stored weights in float32."""
import json
import shutil

import gguf
import numpy
import torch
import transformers

from make_tiny_models import OUT, TEXTS, gguf_begin, gguf_end, number, randomise, save, wordpiece, write_reference

FOLDER = OUT / "bert-rerank"
LIMIT = 64
LONG = " ".join(TEXTS)
PAIRS = [
    ("which rows match?", TEXTS[1]),
    ("which rows match?", TEXTS[0]),
    ("dog", "the lazy dog"),
    ("a", ""),
    ("how does the planner choose", "the planner chooses how; numbers 1234"),
    ("the quick brown fox", LONG + " " + LONG),   # the document is cut
    (LONG + " " + LONG, "the quick brown fox"),   # the query is cut
    (LONG, LONG + " " + LONG),                    # both are
    (LONG, LONG),                                 # both are, and are equally long
    (TEXTS[0], TEXTS[1]),
]
BLOCK = {
    "attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm", "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm",
}
WHOLE = {
    "bert.embeddings.word_embeddings": "token_embd", "bert.embeddings.token_type_embeddings": "token_types",
    "bert.embeddings.position_embeddings": "position_embd", "bert.embeddings.LayerNorm": "token_embd_norm",
    "bert.pooler.dense": "cls", "classifier": "cls.output",
}


def gguf_name(name):
    stem, _, end = name.rpartition(".")
    if stem.startswith("bert.encoder.layer."):
        layer, _, rest = stem.removeprefix("bert.encoder.layer.").partition(".")
        return f"blk.{layer}.{BLOCK[rest]}.{end}"
    return f"{WHOLE[stem]}.{end}"


def write_gguf(model, config):
    w = gguf_begin(FOLDER / "bert-rerank.gguf", "bert", config, config.max_position_embeddings)
    w.add_layer_norm_eps(config.layer_norm_eps)
    w.add_causal_attention(False)
    w.add_pooling_type(gguf.PoolingType.RANK)
    pieces = (FOLDER / "vocab.txt").read_text().split("\n")[:-1]
    special = [p.startswith("[") and p.endswith("]") and len(p) > 2 for p in pieces]
    w.add_tokenizer_model("bert")
    w.add_token_list([p if s else p[2:] if p.startswith("##") else "\u2581" + p for p, s in zip(pieces, special)])
    w.add_token_types([3 if s else 1 for s in special])
    w.add_token_type_count(config.type_vocab_size)
    for key, piece in (("bos", "[CLS]"), ("seperator", "[SEP]"), ("padding", "[PAD]"), ("cls", "[CLS]"), ("mask", "[MASK]"),
                       ("unknown", "[UNK]")):
        w.add_uint32(f"tokenizer.ggml.{key}_token_id", pieces.index(piece))
    for name, p in model.named_parameters():
        matrix = p.dim() == 2 and "position" not in name and "token_type" not in name
        w.add_tensor(gguf_name(name), p.detach().numpy().astype(numpy.float16 if matrix else numpy.float32))
    gguf_end(w)


def main():
    torch.set_num_threads(1)
    shutil.rmtree(FOLDER, ignore_errors=True)
    tokenizer, n_vocab = wordpiece(FOLDER)
    tokenizer.model_max_length = LIMIT
    config = transformers.BertConfig(
        vocab_size=n_vocab, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128,
        max_position_embeddings=LIMIT, num_labels=1)
    model = randomise(transformers.BertForSequenceClassification(config), 9, torch.float16)
    save(model, FOLDER, torch.float16)
    (FOLDER / "model.safetensors").chmod(0o644)
    tokenizer.save_pretrained(FOLDER)
    write_gguf(model, config)
    cases = []
    for query, document in PAIRS:
        enc = tokenizer([query], [document], truncation=True, max_length=LIMIT, return_tensors="pt")
        with torch.no_grad():
            logit = model(**enc).logits[0, 0]
        cases.append({"query": query, "document": document, "ids": enc["input_ids"][0].tolist(),
                      "second": int((enc["token_type_ids"][0] == 0).sum()), "logit": number(logit)})
    write_reference(FOLDER, {"model": "bert-rerank", "cases": cases})
    print(json.dumps([[c["logit"], len(c["ids"]), c["second"]] for c in cases]))


if __name__ == "__main__":
    main()
