"""make logits: how far are the log-probabilities of the next token, by weight type? After each of the 20 prompts of tests/golden/make_logits.py:

plain path  `hearth generate --exact` beside transformers in float32 on the tensors that the package gguf dequantised: what our own code loses
fast path   `hearth generate` beside llama.cpp on the same file, both with quantised activations, each in its own way
llama.cpp   beside the same transformers: its own distance, the measure for the fast path's

Compared are the ids among the reference's ten best that hearth prints (--logprobs 20; all but a few). Prints the table of docs/accuracy.md, --doc puts it there. Exits with 1
when the plain path, which reads every type exactly, is further than 0.001 from transformers. Values are kept in bench/out/logits.json."""
import argparse
import json
import math
import pathlib
import re
import sys

import numpy as np

import sides

HERE = sides.ROOT / "tests/golden"
sys.path.insert(0, str(HERE))
import make_logits  # noqa: E402
import make_ppl  # noqa: E402

KINDS = ("Q4_1", *make_ppl.FLOATS, *make_ppl.MIXES)
N_TOP = 10
PLAIN_BOUND = 1e-3

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("kinds", nargs="*", help=f"of {' '.join(KINDS)}; default: all")
ap.add_argument("--threads", type=int, default=1, help="of hearth and llama.cpp; torch takes OMP_NUM_THREADS")
ap.add_argument("--fresh", action="store_true", help="measure again what is known")
ap.add_argument("--doc", action="store_true")
o = ap.parse_args()
STORE = sides.OUT / "logits.json"


def log_probabilities(row):
    row = np.asarray(row, np.float64)
    return row - row.max() - math.log(np.exp(row - row.max()).sum())


def best(row):
    return {int(i): float(row[i]) for i in np.argsort(-row, kind="stable")[:N_TOP]}


def ours(path, prompt, *more):
    j = json.loads(sides.run([sides.HEARTH, "generate", "--model", path, "--raw", "--prompt", prompt, "--max-tokens", "1", "--temperature", "0",
                              "--logprobs", "20", "--threads", str(o.threads), "--json", *more]))
    return j["prompt_ids"], {t["id"]: t["logprob"] for t in j["top_logprobs"][0]}


def distance(pairs):
    d = [abs(there[i] - here[i]) for here, there in pairs for i in there if i in here]
    return [max(d), math.sqrt(sum(x * x for x in d) / len(d)), len(d)]


def measure(kind):
    path = sides.DEMO if kind == "Q4_1" else sides.variant(kind)
    make_logits.GGUF = pathlib.Path(path)
    reference, peer = make_logits.dequantised(), make_logits.llama(n_threads=o.threads)
    plain, fast, theirs = [], [], []
    for prompt in make_logits.prompts():
        ids, exact = ours(path, prompt, "--exact")
        assert ids == peer.tokenize(prompt.encode(), add_bos=False, special=True), "not the same tokens"
        peer.reset()
        peer.eval(ids)
        llama = log_probabilities(peer._ctx.get_logits()[: peer.n_vocab()])
        truth = log_probabilities(make_logits.logits_of(reference, ids)[-1])
        plain.append((exact, best(truth)))
        fast.append((ours(path, prompt)[1], best(llama)))
        theirs.append((dict(enumerate(llama)), best(truth)))
    return {"plain": distance(plain), "fast": distance(fast), "llama.cpp": distance(theirs)}


def main():
    known = json.loads(STORE.read_text()) if STORE.exists() and not o.fresh else {}
    missed = []
    out = ("| weights | plain path and transformers: worst | rms | fast path and llama.cpp: worst | rms | llama.cpp and transformers: worst | rms |\n"
           "|---|---:|---:|---:|---:|---:|---:|\n")
    print(out, end="")
    for kind in o.kinds or KINDS:
        if kind not in known:
            known[kind] = measure(kind)
            STORE.write_text(json.dumps(known, indent=1))
        (p, pr, _), (f, fr, _), (t, tr, _) = (known[kind][k] for k in ("plain", "fast", "llama.cpp"))
        if not p < PLAIN_BOUND:
            missed.append(kind)
        line = f"| {kind} | {p:.1e} | {pr:.1e} | {f:.2f} | {fr:.2f} | {t:.2f} | {tr:.2f} |\n"
        print(line, end="", flush=True)
        out += line
    if o.doc:
        doc = sides.ROOT / "docs/accuracy.md"
        doc.write_text(re.sub(r"(?s)<!-- logits -->.*?<!-- end -->", lambda m: f"<!-- logits -->\n{out}<!-- end -->", doc.read_text()))
    if missed:
        sys.exit(f"the plain path is too far from transformers: {', '.join(missed)}")


main()
