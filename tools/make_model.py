#!/usr/bin/env python3
"""Writes a GGUF model of a known shape with random weights, for timing and for tests: a number of
tokens per second depends on shapes and types, not on what the weights say.

Blocks are random bytes under scales that give each matrix the spread of a trained one, so that
activations stay finite. A pool of blocks is drawn once per type and scale and laid out again and
again, which writes a model of a billion weights in seconds. The tokenizer is the demo model's, cut
or padded to the shape's vocabulary. The mixes of types are those of llama.cpp's files of the name.

Usage: make_model.py --shape llama-3.2-1b --mix Q4_K_M -o model.gguf      (needs numpy and gguf)
"""
import argparse
import math
import pathlib
import time

import gguf
import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
DEMO = ROOT / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
Q = gguf.GGMLQuantizationType
POOL_ELEMS = 1 << 22


def shape(arch, d, layers, heads, kv, ff, vocab, ctx, base, tied=True, head_dim=None, llama3=None):
    return dict(arch=arch, d=d, layers=layers, heads=heads, kv=kv, ff=ff, vocab=vocab, ctx=ctx, base=base,
                tied=tied, head_dim=head_dim or d // heads, llama3=llama3)


SHAPES = {
    "tiny": shape("llama", 256, 2, 4, 2, 512, 1024, 512, 1e4),
    "tiny-untied": shape("llama", 256, 2, 4, 4, 512, 1024, 512, 1e4, tied=False),
    "tiny-qwen2": shape("qwen2", 256, 2, 4, 2, 512, 1024, 512, 1e6),
    "tiny-qwen3": shape("qwen3", 256, 2, 4, 2, 512, 1024, 512, 1e6, head_dim=128),
    "smollm2-135m": shape("llama", 576, 30, 9, 3, 1536, 49152, 8192, 1e5),
    "smollm2-360m": shape("llama", 960, 32, 15, 5, 2560, 49152, 8192, 1e5),
    "smollm2-1.7b": shape("llama", 2048, 24, 32, 32, 8192, 49152, 8192, 1.3e5),
    "llama-3.2-1b": shape("llama", 2048, 16, 32, 8, 8192, 128256, 131072, 5e5, llama3=(32, 1, 4, 8192)),
    "llama-3.2-3b": shape("llama", 3072, 28, 24, 8, 8192, 128256, 131072, 5e5, llama3=(32, 1, 4, 8192)),
    "llama-3.1-8b": shape("llama", 4096, 32, 32, 8, 14336, 128256, 131072, 5e5, tied=False, llama3=(8, 1, 4, 8192)),
    "mistral-7b": shape("llama", 4096, 32, 32, 8, 14336, 32768, 32768, 1e6, tied=False),
    "qwen2.5-0.5b": shape("qwen2", 896, 24, 14, 2, 4864, 151936, 32768, 1e6),
    "qwen2.5-1.5b": shape("qwen2", 1536, 28, 12, 2, 8960, 151936, 32768, 1e6),
    "qwen3-0.6b": shape("qwen3", 1024, 28, 16, 8, 3072, 151936, 40960, 1e6, head_dim=128),
    "qwen3-1.7b": shape("qwen3", 2048, 28, 16, 8, 6144, 151936, 40960, 1e6, head_dim=128),
}

# Where a block keeps its f16 scale d and offset m, and the d and m that give random bytes a standard
# deviation of 1 around 0.
SPREAD = {
    Q.Q4_0: (0, None, 1 / 4.6, 0), Q.Q4_1: (0, 2, 1 / 4.6, -7.5 / 4.6),
    Q.Q5_0: (0, None, 1 / 9.2, 0), Q.Q5_1: (0, 2, 1 / 9.2, -15.5 / 9.2),
    Q.Q8_0: (0, None, 1 / 74, 0), Q.Q2_K: (80, 82, 1 / 14, 1.5 / 14), Q.Q3_K: (108, None, 1 / 42, 0),
    Q.Q4_K: (0, 2, 1 / 250, 7.5 / 250), Q.Q5_K: (0, 2, 1 / 520, 15.5 / 520), Q.Q6_K: (208, None, 1 / 1360, 0),
    Q.IQ4_NL: (0, None, 1 / 70, 0), Q.IQ4_XS: (0, None, 1 / 1300, 0),
}
# What llama.cpp falls back to when a row is no multiple of 256.
NARROW = {Q.Q2_K: Q.IQ4_NL, Q.Q3_K: Q.IQ4_NL, Q.IQ4_XS: Q.IQ4_NL, Q.Q4_K: Q.Q5_0, Q.Q5_K: Q.Q5_1, Q.Q6_K: Q.Q8_0}
FILE_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K_M": 12,
              "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18, "IQ4_NL": 25, "IQ4_XS": 30,
              "BF16": 32}


def more_bits(i, n):
    """The layers whose values and down projections get a larger type: an eighth at both ends and
    every third between."""
    return i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2


def wanted_type(mix, part, layer, s):
    n = s["layers"]
    base = Q[mix.removesuffix("_M").removesuffix("_S")]
    if part == "output" or (part == "token_embd" and s["tied"]):
        return base if base in (Q.F32, Q.F16, Q.BF16, Q.Q8_0) else Q.Q6_K
    if part == "attn_v":
        if mix in ("Q4_K_M", "Q5_K_M"):
            return Q.Q6_K if more_bits(layer, n) else base
        if mix == "Q4_K_S":
            return Q.Q5_K if layer < 4 else base
        if mix == "Q3_K_M":
            return Q.Q5_K if layer < 2 else Q.Q4_K
        if mix == "Q2_K":
            return Q.Q4_K if s["heads"] // s["kv"] >= 4 else Q.Q3_K
    if part == "ffn_down":
        if mix in ("Q4_K_M", "Q5_K_M"):
            return Q.Q6_K if more_bits(layer, n) else base
        if mix == "Q4_K_S":
            return Q.Q5_K if layer < n // 8 else base
        if mix == "Q3_K_M":
            return Q.Q5_K if layer < n // 16 else Q.Q4_K if more_bits(layer, n) else base
        if mix == "Q2_K":
            return Q.Q3_K
    if part == "attn_output" and mix in ("Q3_K_M", "Q2_K"):
        return Q.Q4_K if mix == "Q3_K_M" else Q.Q3_K
    return base


class Pools:
    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.pools = {}

    def blocks(self, kind, std):
        block, size = gguf.GGML_QUANT_SIZES[kind]
        n = POOL_ELEMS // block
        if kind in (Q.F32, Q.F16, Q.BF16):
            x = self.rng.standard_normal(n, dtype=np.float32) * np.float32(std)
            if kind == Q.BF16:
                return (x.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8).reshape(n, 2)
            return x.astype(np.float32 if kind == Q.F32 else np.float16).view(np.uint8).reshape(n, size)
        d_at, m_at, d, m = SPREAD[kind]
        pool = self.rng.integers(0, 256, (n, size), dtype=np.uint8)
        pool[:, d_at:d_at + 2] = np.frombuffer(np.float16(d * std).tobytes(), np.uint8)
        if m_at is not None:
            pool[:, m_at:m_at + 2] = np.frombuffer(np.float16(m * std).tobytes(), np.uint8)
        return pool

    def take(self, kind, std, n_bytes):
        """n_bytes of blocks in pieces, from a random place of the pool on."""
        pool = self.pools.setdefault((kind, std), None)
        if pool is None:
            pool = self.pools[(kind, std)] = self.blocks(kind, std)
        flat = pool.reshape(-1)
        at = int(self.rng.integers(0, len(pool))) * pool.shape[1]
        out = np.empty(n_bytes, np.uint8)
        done = 0
        while done < n_bytes:
            piece = flat[at:at + n_bytes - done]
            out[done:done + len(piece)] = piece
            done += len(piece)
            at = 0
        return out


def tensors(s):
    """(name, part, layer, shape rows-first, std or 'norm' or an array)"""
    d, ff, hd = s["d"], s["ff"], s["head_dim"]
    q, kv = s["heads"] * hd, s["kv"] * hd
    yield "token_embd.weight", "token_embd", 0, (s["vocab"], d), 1 / math.sqrt(d)
    if s["llama3"]:
        yield "rope_freqs.weight", "norm", 0, (hd // 2,), llama3_factors(s)
    for i in range(s["layers"]):
        matrices = [("attn_q", q, d), ("attn_k", kv, d), ("attn_v", kv, d), ("attn_output", d, q),
                    ("ffn_gate", ff, d), ("ffn_up", ff, d), ("ffn_down", d, ff)]
        yield f"blk.{i}.attn_norm.weight", "norm", i, (d,), "norm"
        for part, rows, cols in matrices:
            yield f"blk.{i}.{part}.weight", part, i, (rows, cols), 1 / math.sqrt(cols)
            if s["arch"] == "qwen2" and part in ("attn_q", "attn_k", "attn_v"):
                yield f"blk.{i}.{part}.bias", "norm", i, (rows,), 0.1
        if s["arch"] == "qwen3":
            yield f"blk.{i}.attn_q_norm.weight", "norm", i, (hd,), "norm"
            yield f"blk.{i}.attn_k_norm.weight", "norm", i, (hd,), "norm"
        yield f"blk.{i}.ffn_norm.weight", "norm", i, (d,), "norm"
    yield "output_norm.weight", "norm", 0, (d,), "norm"
    if not s["tied"]:
        yield "output.weight", "output", 0, (s["vocab"], d), 1 / math.sqrt(d)


def llama3_factors(s):
    factor, low, high, original = s["llama3"]
    freq = 1 / s["base"] ** (np.arange(0, s["head_dim"], 2) / s["head_dim"])
    wave = 2 * math.pi / freq
    smooth = np.clip((original / wave - low) / (high - low), 0, 1)
    return (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)


def copy_tokenizer(writer, path, n_vocab):
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    kinds = fields["tokenizer.ggml.token_type"].contents()
    missing = range(len(tokens), n_vocab)
    tokens = tokens[:n_vocab] + [f"<|unused_{i}|>" for i in missing]
    kinds = kinds[:n_vocab] + [int(gguf.TokenType.UNUSED) for _ in missing]
    kept = set(tokens)
    merges = [m for m in fields["tokenizer.ggml.merges"].contents()
              if all(p in kept for p in m.split(" ")) and m.replace(" ", "") in kept]
    changed = {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": kinds, "tokenizer.ggml.merges": merges}
    for key, field in fields.items():
        if key.startswith("tokenizer."):
            sub = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(key, changed.get(key, field.contents()), field.types[0], sub)


def put_keys(w, s, name, mix):
    w.add_name(name)
    w.add_block_count(s["layers"])
    w.add_context_length(s["ctx"])
    w.add_embedding_length(s["d"])
    w.add_feed_forward_length(s["ff"])
    w.add_head_count(s["heads"])
    w.add_head_count_kv(s["kv"])
    w.add_key_length(s["head_dim"])
    w.add_value_length(s["head_dim"])
    w.add_rope_dimension_count(s["head_dim"])
    w.add_rope_freq_base(s["base"])
    w.add_layer_norm_rms_eps(1e-5 if s["arch"] == "llama" else 1e-6)
    w.add_vocab_size(s["vocab"])
    w.add_file_type(FILE_TYPES[mix])
    w.add_quantization_version(2)


def pick(mix, part, layer, dims, s):
    if part == "norm":
        return Q.F32
    kind = wanted_type(mix, part, layer, s)
    return NARROW.get(kind, kind) if dims[-1] % gguf.GGML_QUANT_SIZES[kind][0] else kind


def bytes_of(dims, kind):
    block, size = gguf.GGML_QUANT_SIZES[kind]
    return (*dims[:-1], dims[-1] // block * size)


def make(name, mix, out, tokenizer, seed):
    s = SHAPES[name]
    pools = Pools(seed)
    w = gguf.GGUFWriter(out, s["arch"])
    put_keys(w, s, f"random {name} {mix}", mix)
    copy_tokenizer(w, tokenizer, s["vocab"])
    plan = [(t, pick(mix, t[1], t[2], t[3], s)) for t in tensors(s)]
    for (tensor, _, _, dims, _), kind in plan:
        shape_in_bytes = bytes_of(dims, kind)
        w.add_tensor_info(tensor, shape_in_bytes, np.dtype(np.uint8), math.prod(shape_in_bytes), raw_dtype=kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_ti_data_to_file()
    for (_, _, _, dims, fill), kind in plan:
        n_bytes = math.prod(bytes_of(dims, kind))
        if isinstance(fill, np.ndarray):
            data = fill.view(np.uint8)
        elif fill == "norm":
            data = (1 + 0.1 * pools.rng.standard_normal(dims[0])).astype(np.float32).view(np.uint8)
        else:
            data = pools.take(kind, fill, n_bytes)
        w.write_tensor_data(data)
    w.close()


if __name__ == "__main__":
    p = argparse.ArgumentParser(description="Writes a GGUF model of a known shape with random weights.")
    p.add_argument("--shape", choices=SHAPES, required=True)
    p.add_argument("--mix", choices=FILE_TYPES, default="Q4_K_M")
    p.add_argument("--tokenizer", default=DEMO, help="GGUF file whose tokenizer is taken")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("-o", "--out", required=True)
    a = p.parse_args()
    begin = time.time()
    make(a.shape, a.mix, a.out, a.tokenizer, a.seed)
    print(f"{a.out}: {pathlib.Path(a.out).stat().st_size / 1e6:.0f} MB in {time.time() - begin:.1f} s")
