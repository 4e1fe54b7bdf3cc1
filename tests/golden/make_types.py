"""Golden vectors of tensor types: random blocks of every type and what the Python package gguf makes of them.
Lines: "dequant NAME blocks-hex floats-hex" and "quant NAME floats-hex blocks-hex" (little-endian bytes).
Run: python tests/golden/make_types.py > tests/golden/data/types.txt"""
import numpy as np
import gguf
from gguf import quants

rng = np.random.default_rng(20261121)
# byte offsets of the f16 fields of a block, so that they can be made finite
HALVES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2],
          "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0], "F16": None, "BF16": None}
print("# made by tests/golden/make_types.py with gguf", getattr(gguf, "__version__", ""))
for name, offsets in HALVES.items():
    kind = gguf.GGMLQuantizationType[name]
    elems, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = 2 if elems == 256 else 4 if elems == 32 else 64
    raw = rng.integers(0, 256, (blocks, size), dtype=np.uint8)
    if offsets is None:
        words = raw.view(np.uint16)
        top = 0x7C00 if name == "F16" else 0x7F80
        words[(words & top) == top] &= np.uint16(0x8FFF)
    else:
        for o in offsets:
            d = (rng.standard_normal(blocks) * 10.0 ** rng.uniform(-6, 1, blocks)).astype(np.float16)
            raw[:, o:o + 2] = d.view(np.uint8).reshape(blocks, 2)
    if name == "F16":
        out = raw.view(np.float16).astype(np.float32)
    else:
        out = quants.dequantize(raw.reshape(-1) if elems == 1 else raw, kind)
    print("dequant", name, raw.tobytes().hex(), np.ascontiguousarray(out, dtype=np.float32).tobytes().hex())
x = (rng.standard_normal(128) * np.repeat([1e-3, 0.05, 1, 30], 32)).astype(np.float32)
x[32:64] = 0
for name in ["F16", "BF16", "Q4_0", "Q4_1", "Q8_0"]:
    q = x.astype(np.float16) if name == "F16" else quants.quantize(x.reshape(1, -1), gguf.GGMLQuantizationType[name])
    print("quant", name, x.tobytes().hex(), np.ascontiguousarray(q).tobytes().hex())
