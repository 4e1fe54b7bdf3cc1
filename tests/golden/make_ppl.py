#!/usr/bin/env python3
"""Perplexity references. Steps (arguments):
text      data/ppl.txt: about 60 KB of PostgreSQL's documentation as plain text (package
          postgresql-doc-15; PostgreSQL licence, Copyright (c) 1996-2023 PostgreSQL Global Development Group)
variants  bench/out/ppl/*.gguf (all, or only the kinds named after it): SmolLM2 dequantised from its Q4_1 file to F32 and requantised: F16, BF16, Q8_0,
          Q5_1, Q5_0, Q4_0 by the gguf package, K-quants by llama.cpp
llamacpp  prints llama.cpp's perplexity of the Q4_1 file and every variant: windows of 512, second half
"""
import html.parser
import math
import pathlib
import sys

import numpy as np

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
GGUF = ROOT / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
OUT = ROOT / "bench" / "out" / "ppl"
PAGES = ["mvcc-intro", "transaction-iso", "explicit-locking", "mvcc-caveats", "locking-indexes", "performance-tips",
         "wal-intro", "wal-configuration", "routine-vacuuming", "tutorial-concepts", "tutorial-join", "tutorial-agg"]


class Text(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.out, self.skip = [], 0

    def handle_starttag(self, tag, attrs):
        c = dict(attrs).get("class") or ""
        if self.skip or tag in ("head", "script") or c in ("navheader", "navfooter"):
            self.skip += tag not in ("meta", "link", "br", "hr", "img", "col")
        if tag in ("p", "div", "h2", "h3", "pre", "li", "tr"):
            self.out.append("\n")

    def handle_endtag(self, tag):
        self.skip -= self.skip > 0

    def handle_data(self, data):
        if not self.skip:
            self.out.append(data)


def text(*_):
    out = []
    for page in PAGES:
        p = pathlib.Path(f"/usr/share/doc/postgresql-doc-15/html/{page}.html")
        if not p.exists():
            continue
        t = Text()
        t.feed(p.read_text())
        lines = [" ".join(l.replace("\u200b", "").replace("\u00a0", " ").split()) for l in "".join(t.out).split("\n")]
        out.append("\n".join(l for l in lines if l))
    (HERE / "data" / "ppl.txt").write_text("\n\n".join(out)[:60000].rsplit("\n", 1)[0] + "\n")


FLOATS = ("F32", "F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_0")
MIXES = ("Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K", "IQ4_NL", "IQ4_XS")


def variants(*kinds):
    import gguf
    import llama_cpp
    OUT.mkdir(parents=True, exist_ok=True)
    r = gguf.GGUFReader(str(GGUF))
    T = gguf.GGMLQuantizationType
    floats = {t.name: np.array(gguf.quants.dequantize(t.data, t.tensor_type), np.float32) for t in r.tensors}
    kinds = kinds or FLOATS + MIXES
    mixes = [k for k in MIXES if k in kinds]
    for kind in FLOATS:
        if kind not in kinds and not (kind == "F32" and mixes):
            continue
        w = gguf.GGUFWriter(str(OUT / f"{kind}.gguf"), "llama")
        for f in r.fields.values():
            if f.name.startswith("GGUF.") or f.name in ("general.architecture", "general.file_type"):
                continue
            sub = f.types[-1] if f.types[0] == gguf.GGUFValueType.ARRAY else None
            w.add_key_value(f.name, f.contents(), f.types[0], sub_type=sub)
        for name, x in floats.items():
            q = T[kind] if x.ndim == 2 else T.F32
            w.add_tensor(name, gguf.quants.quantize(x, q), raw_dtype=q)
        w.write_header_to_file()
        w.write_kv_data_to_file()
        w.write_tensors_to_file()
        w.close()
    for kind in mixes:
        p = llama_cpp.llama_model_quantize_default_params()
        p.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind}")
        p.nthread = 2
        p.allow_requantize = True
        assert llama_cpp.llama_model_quantize(str(OUT / "F32.gguf").encode(), str(OUT / f"{kind}.gguf").encode(), p) == 0


def perplexity(path, text=None):
    import llama_cpp
    m = llama_cpp.Llama(str(path), n_ctx=512, n_batch=512, logits_all=True, verbose=False, n_threads=2)
    ids = m.tokenize(text or (HERE / "data" / "ppl.txt").read_bytes(), add_bos=False, special=False)
    total, n = 0.0, 0
    for w in range(len(ids) // 512):
        window = ids[w * 512:(w + 1) * 512]
        m.reset()
        m.eval(window)
        rows = np.array(m.scores[256:511], dtype=np.float64)
        top = rows.max(axis=1)
        lse = top + np.log(np.exp(rows - top[:, None]).sum(axis=1))
        total += (lse - rows[np.arange(255), window[257:512]]).sum()
        n += 255
    return math.exp(total / n), n


def llamacpp(*_):
    for path in [GGUF] + sorted(OUT.glob("*.gguf")):
        value, n = perplexity(path)
        print(f"{path.stem:40} {value:.4f} over {n} tokens", flush=True)


if __name__ == "__main__":
    steps = {"text": text, "variants": variants, "llamacpp": llamacpp}
    words = sys.argv[1:]
    for i, what in enumerate(words):
        if what in steps:
            kinds = words[i + 1:]
            kinds = kinds[:next((k for k, w in enumerate(kinds) if w in steps), len(kinds))]
            steps[what](*kinds)
