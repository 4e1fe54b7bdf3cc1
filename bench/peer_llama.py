"""llama.cpp (through llama-cpp-python) on one GGUF file: prompt and generation speed, as `hearth bench` measures them.

Prints one JSON object with rows like its. Random tokens, no sampling: only the model runs. Prompts and steps at a depth cut the context back
to it each time."""
import argparse
import ctypes
import json
import time

import llama_cpp as L
import numpy as np

ap = argparse.ArgumentParser()
ap.add_argument("--model", required=True)
ap.add_argument("--prompt", default="512", help="a list")
ap.add_argument("--gen", type=int, default=128)
ap.add_argument("--depth", default="0", help="a list")
ap.add_argument("--threads", type=int, default=2)
ap.add_argument("--repeat", type=int, default=1)
a = ap.parse_args()
prompts = [int(n) for n in a.prompt.split(",") if int(n)]
depths = sorted(int(n) for n in a.depth.split(","))

llm = L.Llama(a.model, n_ctx=depths[-1] + max(*prompts, a.gen, 64) + 64, n_batch=512, n_ubatch=512, n_threads=a.threads,
              n_threads_batch=a.threads, flash_attn=True, verbose=False)
ctx = llm._ctx.ctx
memory = L.llama_get_memory(ctx)
rng = np.random.default_rng(1)
n_vocab = llm.n_vocab()
rows = []


def run(n, step):
    ids = rng.integers(0, n_vocab, n).astype(np.int32)
    for i in range(0, n, step):
        part = ids[i:i + step]
        batch = L.llama_batch_get_one(part.ctypes.data_as(ctypes.POINTER(L.llama_token)), len(part))
        if L.llama_decode(ctx, batch):
            raise SystemExit("llama_decode failed")
    L.llama_synchronize(ctx)


def timed(n, step):
    t = time.perf_counter()
    run(n, step)
    return time.perf_counter() - t


L.llama_memory_clear(memory, True)
run(32, 32)  # warm
run(2, 1)
L.llama_memory_clear(memory, True)
there = 0
for depth in depths:
    run(depth - there, 512)
    there = depth
    for test, n, step in [("prompt", n, 512) for n in prompts] + [("generate", a.gen, 1)] * (a.gen > 0):
        row = {"test": test, "tokens": n, "depth": depth, "seconds": []}
        for _ in range(a.repeat):
            row["seconds"].append(timed(n, step))
            if not L.llama_memory_seq_rm(memory, 0, depth, -1):
                raise SystemExit("llama_memory_seq_rm failed")
        rows.append(row)
print(json.dumps({"rows": rows, "threads": a.threads}))
