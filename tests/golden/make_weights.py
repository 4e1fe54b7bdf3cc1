#!/usr/bin/env python3
"""Writes tests/golden/data/weights/<model>.txt: metadata and tensor tables as the gguf package reads
them from GGUF files, and for the sentence-transformers directory as safetensors, transformers and
gguf's own name tables give them. One line per pair and tensor; long values by SHA-256.

Usage: make_weights.py <directory of the vocabulary-only GGUF files>
"""
import hashlib
import pathlib
import struct
import sys

import gguf
import numpy as np

ROOT = pathlib.Path(__file__).parents[2]
OUT = pathlib.Path(__file__).parent / "data" / "weights"
T = gguf.GGUFValueType
INTS = {T.INT8, T.INT16, T.INT32, T.INT64}
UINTS = {T.UINT8, T.UINT16, T.UINT32, T.UINT64}


def sha(data):
    return hashlib.sha256(data).hexdigest()[:16]


def scalar(kind, value):
    if kind in INTS:
        return f"int {int(value)}"
    if kind in UINTS:
        return f"uint {int(value)}"
    if kind == T.BOOL:
        return f"bool {int(value)}"
    if kind == T.STRING:
        return f"string {len(value)} {sha(value)}"
    return f"float {float(value):.17g}"


def field(f):
    if f.types[0] == T.STRING:
        return scalar(T.STRING, f.parts[-1].tobytes())
    if f.types[0] != T.ARRAY:
        return scalar(f.types[0], f.parts[-1][0])
    kind = f.types[-1]
    items = [f.parts[i] for i in f.data]
    if kind == T.STRING:
        body = b"".join(struct.pack("<Q", p.nbytes) + p.tobytes() for p in items)
    else:
        body = "".join(scalar(kind, p[0]) + "\n" for p in items).encode()
    name = "string" if kind == T.STRING else scalar(kind, 0).split()[0]
    return f"array {name} {len(items)} {sha(body)}"


def tensor_line(name, kind, shape, offset, data):
    return f"tensor {name} {kind} {'x'.join(str(int(d)) for d in shape)} {offset} {sha(data)}"


def write(name, lines):
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"{name}.txt").write_text("\n".join(lines) + "\n")


def gguf_file(path, name):
    r = gguf.GGUFReader(path)
    lines = [f"meta {k} {field(f)}" for k, f in r.fields.items() if not k.startswith("GGUF.")]
    for t in r.tensors:
        lines.append(tensor_line(t.name, t.tensor_type.name, t.shape, t.data_offset, np.ascontiguousarray(t.data).tobytes()))
    write(name, lines)


def minilm(path):
    import torch
    from safetensors import safe_open
    from sentence_transformers import SentenceTransformer
    from transformers import AutoConfig
    config = AutoConfig.from_pretrained(path)
    model = SentenceTransformer(str(path), device="cpu")
    keys = gguf.Keys

    def arch(key):
        return key.format(arch="bert")

    eps = struct.unpack("<d", struct.pack("<d", config.layer_norm_eps))[0]
    meta = {
        keys.General.ARCHITECTURE: scalar(T.STRING, b"bert"),
        keys.General.NAME: scalar(T.STRING, path.name.encode()),
        arch(keys.LLM.VOCAB_SIZE): scalar(T.UINT32, config.vocab_size),
        arch(keys.LLM.EMBEDDING_LENGTH): scalar(T.UINT32, config.hidden_size),
        arch(keys.LLM.BLOCK_COUNT): scalar(T.UINT32, config.num_hidden_layers),
        arch(keys.LLM.FEED_FORWARD_LENGTH): scalar(T.UINT32, config.intermediate_size),
        arch(keys.Attention.HEAD_COUNT): scalar(T.UINT32, config.num_attention_heads),
        arch(keys.LLM.CONTEXT_LENGTH): scalar(T.UINT32, model.max_seq_length),
        arch(keys.Attention.LAYERNORM_EPS): scalar(T.FLOAT64, eps),
        arch(keys.Attention.CAUSAL): scalar(T.BOOL, False),
        keys.Tokenizer.TOKEN_TYPE_COUNT: scalar(T.UINT32, config.type_vocab_size),
        arch(keys.LLM.POOLING_TYPE): scalar(T.UINT32, gguf.PoolingType[model[1].pooling_mode.upper()]),
        "bert.normalize_embeddings": scalar(T.BOOL, type(model[2]).__name__ == "Normalize"),
        keys.Tokenizer.PAD_ID: scalar(T.UINT32, config.pad_token_id),
    }
    lines = [f"meta {k} {v}" for k, v in meta.items()]
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, config.num_hidden_layers)
    rows = []
    with safe_open(path / "model.safetensors", "pt") as f:
        for key in f.keys():
            name = names.get_name(key, try_suffixes=(".weight", ".bias"))
            if name and not key.startswith("pooler"):
                t = f.get_tensor(key)
                assert t.dtype == torch.float32
                rows.append(tensor_line(name, "F32", reversed(t.shape), 0, t.numpy().tobytes()))
    write("all-MiniLM-L6-v2", lines + sorted(rows))


if __name__ == "__main__":
    gguf_file(ROOT / "models/SmolLM2-135M-Instruct.Q4_1.gguf", "SmolLM2-135M-Instruct.Q4_1")
    for p in sorted(pathlib.Path(sys.argv[1]).glob("*.gguf")):
        gguf_file(p, p.stem)
    minilm((ROOT / "models/all-MiniLM-L6-v2"))
