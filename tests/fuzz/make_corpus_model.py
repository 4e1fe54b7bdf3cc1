#!/usr/bin/env python3
"""Writes the seeds of fuzz_gguf, fuzz_safetensors, fuzz_hf, fuzz_charsmap and those with Unigram of fuzz_sentencepiece
and fuzz_tokenizer_json: small good files and hostile ones."""
import base64
import json
import pathlib
import struct

HERE = pathlib.Path(__file__).parent / "corpus"


def put(parser, name, data):
    folder = HERE / parser
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def text(s):
    return struct.pack("<Q", len(s)) + s


def pair(key, kind, value):
    return text(key) + struct.pack("<I", kind) + value


def array(kind, n, body):
    return struct.pack("<IQ", kind, n) + body


def gguf(pairs, tensors=(), data=b"", version=3, n_pairs=None, n_tensors=None):
    b = b"GGUF" + struct.pack("<IQQ", version, len(tensors) if n_tensors is None else n_tensors,
                              len(pairs) if n_pairs is None else n_pairs)
    b += b"".join(pairs) + b"".join(tensors)
    return b + b"\0" * (-len(b) % 32) + data if data else b


def tensor(name, ne, kind, offset):
    return text(name) + struct.pack(f"<I{len(ne)}QIQ", len(ne), *ne, kind, offset)


def make_gguf():
    kinds = [pair(b"general.architecture", 8, text(b"llama")), pair(b"u8", 0, b"\1"), pair(b"i8", 1, b"\xff"),
             pair(b"u16", 2, b"\1\2"), pair(b"i16", 3, b"\1\2"), pair(b"u32", 4, b"\1\2\3\4"),
             pair(b"i32", 5, b"\1\2\3\4"), pair(b"f32", 6, b"\0\0\x80\x3f"), pair(b"bool", 7, b"\1"),
             pair(b"u64", 10, b"\1" * 8), pair(b"i64", 11, b"\xff" * 8), pair(b"f64", 12, b"\0" * 8),
             pair(b"words", 9, array(8, 2, text(b"a") + text(b""))), pair(b"ints", 9, array(5, 2, b"\0" * 8)),
             pair(b"bools", 9, array(7, 2, b"\0\1")),
             pair(b"nested", 9, array(9, 1, array(0, 2, b"\1\2")))]
    put("gguf", "kinds", gguf(kinds))
    two = [tensor(b"token_embd.weight", [32, 2], 2, 0), tensor(b"output_norm.weight", [4], 0, 64)]
    put("gguf", "tensors", gguf(kinds[:1], two, b"\0" * 80))
    put("gguf", "aligned64", gguf([pair(b"general.alignment", 4, b"\x40\0\0\0")],
                                  [tensor(b"a", [2, 1, 1, 1], 1, 0)], b"\0" * 96, version=2))
    put("gguf", "split", gguf([pair(b"split.no", 2, b"\0\0"), pair(b"split.count", 2, b"\2\0")]))
    put("gguf", "overlap", gguf([], [tensor(b"a", [16], 0, 0), tensor(b"b", [16], 0, 32)], b"\0" * 96))
    put("gguf", "huge_key", gguf([struct.pack("<Q", 1 << 60) + b"k" * 8], n_pairs=1))
    put("gguf", "huge_array", gguf([pair(b"k", 9, array(12, 1 << 61, b""))]))
    put("gguf", "deep", gguf([pair(b"k", 9, array(9, 1, b"") * 50)]))
    put("gguf", "huge_counts", gguf([], n_pairs=(1 << 64) - 1, n_tensors=1 << 63))
    put("gguf", "huge_dims", gguf([], [tensor(b"a", [1 << 40, 1 << 40], 0, 0)]))
    put("gguf", "iq2_xxs", gguf([], [tensor(b"a", [256], 16, 0)], b"\0" * 66))


def safetensors(header, data=b""):
    h = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(h)) + h + data


def make_safetensors():
    a = {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}
    put("safetensors", "two", safetensors({"__metadata__": {"format": "pt"}, "model.norm.weight": a,
                                           "model.layers.3.mlp.up_proj.weight":
                                           {"dtype": "BF16", "shape": [2], "data_offsets": [8, 12]}}, b"\0" * 12))
    put("safetensors", "bert", safetensors({"bert.encoder.layer.0.output.LayerNorm.gamma": a}, b"\0" * 8))
    put("safetensors", "empty", safetensors({}))
    put("safetensors", "hole", safetensors({"a": {**a, "data_offsets": [4, 12]}}, b"\0" * 12))
    put("safetensors", "overflow", safetensors({"a": {**a, "shape": [1 << 62, 1 << 62]}}, b"\0" * 8))
    put("safetensors", "negative", safetensors({"a": {**a, "data_offsets": [-8, 0]}}, b"\0" * 8))
    put("safetensors", "brackets", safetensors(b"[" * 3000))
    put("safetensors", "length", b"\xff" * 8 + b"{}")


def make_hf():
    sizes = {"vocab_size": 10, "hidden_size": 32, "num_hidden_layers": 1, "intermediate_size": 8,
             "num_attention_heads": 2, "max_position_embeddings": 128}
    rope = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e6, "beta_fast": 32, "attention_factor": 1.2,
            "original_max_position_embeddings": 32}
    put("hf", "llama", json.dumps({"model_type": "llama", **sizes, "eos_token_id": [1, 2]}).encode())
    put("hf", "yarn", json.dumps({"model_type": "qwen2", **sizes, "rope_parameters": rope,
                                  "use_sliding_window": True, "sliding_window": 64}).encode())
    put("hf", "llama3", json.dumps({"model_type": "llama", **sizes, "rope_scaling": {
        "type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4}}).encode())
    put("hf", "qwen3", json.dumps({"model_type": "qwen3", **sizes, "head_dim": 64, "tie_word_embeddings": True,
                                   "quantization_config": None, "partial_rotary_factor": 0.5}).encode())
    put("hf", "bert", json.dumps({"model_type": "bert", **sizes, "hidden_act": "gelu", "layer_norm_eps": 1e-12,
                                  "position_embedding_type": "absolute", "type_vocab_size": 2}).encode())
    put("hf", "roberta", json.dumps({"model_type": "xlm-roberta", **sizes, "pad_token_id": 1, "type_vocab_size": 1}).encode())
    put("hf", "roberta_pad", json.dumps({"model_type": "roberta", **sizes, "pad_token_id": 127}).encode())
    put("hf", "hostile", json.dumps({"model_type": "llama", **sizes, "hidden_size": 1e308,
                                     "rope_scaling": [[[]]]}).encode())


def charsmap(rules):
    """A precompiled character map: a double array over the rules' left sides, and a pool of the right ones."""
    units, taken, pool = {0: 0}, {0}, b""

    def place(at, keys, depth):
        nonlocal pool
        labels = sorted({k[depth] if depth < len(k) else 0 for k in keys})
        base = next(b for b in range(1, 1 << 16) if all(b ^ c not in taken for c in labels))
        taken.update(base ^ c for c in labels)
        units[at] |= (at ^ base) << 10
        for c in labels:
            if c == 0:
                key = next(k for k in keys if len(k) == depth)
                units[at] |= 1 << 8
                units[base] = 1 << 31 | len(pool)
                pool += rules[key] + b"\0"
            else:
                units[base ^ c] = c
                place(base ^ c, [k for k in keys if depth < len(k) and k[depth] == c], depth + 1)

    place(0, list(rules), 0)
    size = max(units) + 256
    return struct.pack(f"<I{size}I", 4 * size, *(units.get(i, 0) for i in range(size))) + pool


RULES = {b"A": b"a", b"A\xcc\x80": b"\xc3\xa0", b"\t": b" ", b"\x01": b"", b"\xef\xac\x81": b"fi", b"\xe3\x80\x80": b" "}
TEXT = b"A\xcc\x80A\t\t b\x01 \xef\xac\x81 \xe3\x80\x80c\xcc\x80 \xff \r\n"


def make_charsmap():
    good = charsmap(RULES)

    def seed(name, blob, text=TEXT):
        put("charsmap", name, struct.pack("<H", len(blob)) + blob + text)

    seed("good", good)
    seed("none", b"")
    seed("cut", good[:-5])
    seed("no_pool", good[:4 + struct.unpack_from("<I", good)[0]])
    seed("trie_too_long", struct.pack("<I", len(good)) + good[4:])
    seed("odd", struct.pack("<I", 6) + good[4:])
    seed("far_values", good[:4] + b"".join(struct.pack("<I", u | 0x7FFFFFFF if u >> 31 else u)
                                           for u in struct.unpack_from(f"<{len(good) // 4 - 2}I", good, 4)) + b"x" * 8)
    seed("far_offsets", struct.pack("<II", 4, 0xFFFFFFFF) + b"x")
    seed("circle", struct.pack("<I256I", 1024, *([0x100 | c for c in range(256)])) + b"ab\0")


def varint(n):
    return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + varint(n >> 7)


def field(number, kind, value):
    return varint(number << 3 | kind) + (varint(len(value)) + value if kind == 2 else value)


def make_unigram():
    low = "\u2581"
    pieces = [("<unk>", 0, 2), ("<s>", 0, 3), ("</s>", 0, 3), (low, -2, 1), (low + "a", -2.5, 1), ("a", -3, 1), ("b", -3, 1), ("ab", -3.5, 1), ("fi", -4, 1),
              ("ba", -3.5, 1), ("::", 0, 4), ("unused", -1, 5)]
    body = b"".join(field(1, 2, field(1, 2, t.encode()) + field(2, 5, struct.pack("<f", s)) + field(3, 0, varint(k))) for t, s, k in pieces)
    rules = field(3, 2, field(1, 2, b"nmt_nfkc") + field(2, 2, charsmap(RULES)))
    put("sentencepiece", "unigram", body + field(2, 2, field(3, 0, b"\1")))
    put("sentencepiece", "unigram_map", body + field(2, 2, field(3, 0, b"\1")) + rules)
    put("sentencepiece", "unigram_bad_map", body + field(3, 2, field(2, 2, charsmap(RULES)[:40])))
    bytes_ = b"".join(field(1, 2, field(1, 2, b"<0x%02X>" % b) + field(3, 0, b"\6")) for b in range(256))
    put("sentencepiece", "unigram_bytes", body + bytes_ + field(2, 2, field(3, 0, b"\1") + field(35, 0, b"\1") + field(40, 0, b"\0")))
    vocab = [["<s>", 0], ["<pad>", 0], ["</s>", 0], ["<unk>", 0]] + [[t, s] for t, s, k in pieces if k == 1] + [["<0x%02X>" % b, -9] for b in range(256)] + [["<mask>", 0]]
    added = [{"id": i, "content": vocab[i][0], "special": True, "normalized": False, "lstrip": i > 3} for i in (0, 1, 2, 3, len(vocab) - 1)]
    meta = {"type": "Metaspace", "replacement": low, "prepend_scheme": "always"}
    for name, words in (("unigram_xlmr", False), ("unigram_words", True)):
        data = {"added_tokens": added, "normalizer": {"type": "Sequence", "normalizers": [
                    {"type": "Nmt"}, {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap(RULES)).decode()},
                    {"type": "Strip", "strip_left": False, "strip_right": True}, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": low}]},
                "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, meta]} if words else meta,
                "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}],
                                   "pair": [], "special_tokens": {"<s>": {"ids": [0]}}},
                "decoder": meta, "model": {"type": "Unigram", "unk_id": 3, "byte_fallback": words, "vocab": vocab}}
        put("tokenizer_json", name, json.dumps(data).encode() + b"\0" + TEXT + b" ab<mask>::baab <s>")


make_gguf()
make_safetensors()
make_hf()
make_charsmap()
make_unigram()
