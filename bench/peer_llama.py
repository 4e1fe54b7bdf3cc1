"""llama.cpp (through llama-cpp-python) on one GGUF file: prompt and generation speed, as `hearth bench` measures them.

Prints one JSON object. Random tokens, no sampling: only the model runs. The context is emptied before each measurement."""
import argparse
import ctypes
import json
import time

import llama_cpp as L
import numpy as np

ap = argparse.ArgumentParser()
ap.add_argument("--model", required=True)
ap.add_argument("--prompt", type=int, default=512)
ap.add_argument("--gen", type=int, default=128)
ap.add_argument("--depth", type=int, default=0)
ap.add_argument("--threads", type=int, default=2)
ap.add_argument("--repeat", type=int, default=1)
a = ap.parse_args()

llm = L.Llama(a.model, n_ctx=max(a.prompt, a.depth + a.gen) + 64, n_batch=512, n_ubatch=512, n_threads=a.threads,
              n_threads_batch=a.threads, flash_attn=True, verbose=False)
ctx = llm._ctx.ctx
rng = np.random.default_rng(1)
n_vocab = llm.n_vocab()


def clear():
    L.llama_memory_clear(L.llama_get_memory(ctx), True)


def run(n, step):
    ids = rng.integers(0, n_vocab, n).astype(np.int32)
    for i in range(0, n, step):
        part = ids[i:i + step]
        batch = L.llama_batch_get_one(part.ctypes.data_as(ctypes.POINTER(L.llama_token)), len(part))
        if L.llama_decode(ctx, batch):
            raise SystemExit("llama_decode failed")
    L.llama_synchronize(ctx)


clear()
run(32, 32)  # warm
pp, tg = [], []
for _ in range(a.repeat):
    if a.prompt:
        clear()
        t = time.perf_counter()
        run(a.prompt, 512)
        pp.append(a.prompt / (time.perf_counter() - t))
    if a.gen:
        clear()
        if a.depth:
            run(a.depth, 512)
        t = time.perf_counter()
        run(a.gen, 1)
        tg.append(a.gen / (time.perf_counter() - t))
print(json.dumps({"prompt_tps": pp, "gen_tps": tg, "threads": a.threads}))
