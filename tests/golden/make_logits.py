#!/usr/bin/env python3
"""Writes what independent implementations compute from models/SmolLM2-135M-Instruct.Q4_1.gguf, for
tests/golden/test_logits.c:

data/smollm2_exact.txt     transformers in float32 on the tensors dequantised by the gguf package:
                           log-sum-exp and the ten best logits at three positions of each prompt
data/smollm2_llamacpp.txt  llama.cpp on the file itself: the same after each prompt, and 64 greedy tokens

Usage: make_logits.py exact|llamacpp ...
"""
import math
import pathlib
import sys

import numpy as np
import torch
import transformers

HERE = pathlib.Path(__file__).parent
DATA = HERE / "data"
GGUF = HERE.parent.parent / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
QUESTIONS = [
    "What is the capital of France?",
    "Write a haiku about autumn rain.",
    "Explain what an index is in a database, in two sentences.",
    "List three prime numbers greater than 10.",
    "Translate to French: The cat sleeps on the chair.",
    "Who wrote Romeo and Juliet?",
    "What does the SQL command VACUUM do?",
    "Give me a recipe for pancakes.",
    "Why is the sky blue?",
    "Name the planets of the solar system.",
    "What is 17 plus 25?",
    "Summarize the plot of Cinderella.",
    "How do vaccines work?",
    "Write a short email that asks for a day off.",
]
PLAIN = [
    "Once upon a time there was a",
    "def fibonacci(n):\n    ",
    "The three most important rules of writing are",
    "In 1492, Columbus",
    "Water boils at a temperature of",
    "PostgreSQL is an object-relational database management system (ORDBMS) based on POSTGRES,",
]


def prompts():
    chat = (f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n%s<|im_end|>\n"
            "<|im_start|>assistant\n")
    return [chat % q for q in QUESTIONS] + PLAIN


def logits_of(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].numpy()


def dequantised():
    import gguf
    r = gguf.GGUFReader(str(GGUF))
    field = lambda k: r.fields["llama." + k].contents()
    heads, kv_heads, d = field("attention.head_count"), field("attention.head_count_kv"), field("embedding_length")
    config = transformers.LlamaConfig(
        vocab_size=field("vocab_size"), hidden_size=d, intermediate_size=field("feed_forward_length"),
        num_hidden_layers=field("block_count"), num_attention_heads=heads, num_key_value_heads=kv_heads,
        max_position_embeddings=field("context_length"), rms_norm_eps=field("attention.layer_norm_rms_epsilon"),
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": field("rope.freq_base")})
    names = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
             "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
             "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
    state = {}
    for t in r.tensors:
        w = torch.from_numpy(np.array(gguf.quants.dequantize(t.data, t.tensor_type), dtype=np.float32))
        part = t.name.split(".")
        if part[0] == "token_embd":
            state["model.embed_tokens.weight"] = state["lm_head.weight"] = w
        elif part[0] == "output_norm":
            state["model.norm.weight"] = w
        else:
            if part[2] in ("attn_q", "attn_k"):  # rows are permuted for interleaved rotary pairs
                n = heads if part[2] == "attn_q" else kv_heads
                w = w.reshape(n, w.shape[0] // n // 2, 2, d).swapaxes(1, 2).reshape(w.shape)
            state[f"model.layers.{part[1]}.{names[part[2]]}.weight"] = w
    model = transformers.LlamaForCausalLM(config)
    model.load_state_dict(state, strict=True)
    return model.float().eval()


def llama(**more):
    import llama_cpp
    return llama_cpp.Llama(str(GGUF), **{"n_ctx": 512, "n_batch": 512, "verbose": False, "n_threads": 2, **more})


def top(row, n=10):
    """Log-sum-exp and the best logits."""
    row = row.astype(np.float64)
    lse = row.max() + math.log(np.exp(row - row.max()).sum())
    best = np.argsort(-row, kind="stable")[:n]
    return f"{lse:.6f} " + " ".join(f"{i} {row[i]:.6f}" for i in best)


def exact():
    model, tok = dequantised(), llama()
    lines = []
    for p in prompts():
        ids = tok.tokenize(p.encode(), add_bos=False, special=True)
        rows = logits_of(model, ids)
        lines.append("ids " + " ".join(map(str, ids)))
        for at in sorted({len(ids) // 3, len(ids) // 2, len(ids) - 1}):
            lines.append(f"at {at} " + top(rows[at]))
    (DATA / "smollm2_exact.txt").write_text("\n".join(lines) + "\n")


def llamacpp():
    m = llama()
    lines = []
    for p in prompts():
        ids = m.tokenize(p.encode(), add_bos=False, special=True)
        m.reset()
        m.eval(ids)
        lines += ["ids " + " ".join(map(str, ids)), "top " + top(np.array(m._ctx.get_logits()[: m.n_vocab()]))]
        tokens = []
        for _ in range(64):
            row = np.array(m._ctx.get_logits()[: m.n_vocab()])
            tokens.append(int(row.argmax()))
            m.eval([tokens[-1]])
        lines.append("greedy " + " ".join(map(str, tokens)))
    (DATA / "smollm2_llamacpp.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(2)
    for what in sys.argv[1:]:
        {"exact": exact, "llamacpp": llamacpp}[what]()
