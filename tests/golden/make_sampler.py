#!/usr/bin/env python3
"""Writes tests/golden/data/sampler.txt: what each sampling setting must keep and draw, computed with numpy
from the definitions in src/engine/session.h (sorting whole arrays; nothing in common with the C code)."""
import pathlib
import numpy as np

MASK = (1 << 64) - 1


def rng(seed):
    """xoshiro256** 1.0 seeded through splitmix64; yields numbers in [0, 1) of 53 bits."""
    s, x = [], seed
    for _ in range(4):
        x = (x + 0x9E3779B97F4A7C15) & MASK
        z = x
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        s.append(z ^ (z >> 31))
    rotl = lambda v, k: ((v << k) | (v >> (64 - k))) & MASK
    while True:
        result = (rotl((s[1] * 5) & MASK, 7) * 9) & MASK
        t = (s[1] << 17) & MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotl(s[3], 45)
        yield (result >> 11) * 2.0 ** -53


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def kept(logits, history, p):
    """Candidates (ids, logits) after every filter, best first."""
    x = logits.astype(np.float32).copy()
    for i, b in p.get("bias", []):
        x[i] += np.float32(b)
    window = p.get("window", 0) or 64
    recent = history if window == -1 else history[-window:]
    for i in sorted(set(recent)):
        r = np.float32(p.get("rep", 0))
        if r not in (0, 1):
            x[i] = x[i] / r if x[i] > 0 else x[i] * r
        x[i] = x[i] - np.float32(p.get("pres", 0)) - np.float32(p.get("freq", 0)) * np.float32(recent.count(i))
    ids = np.array([i for i in range(len(x)) if np.isfinite(x[i])])
    ids = ids[np.lexsort((ids, -x[ids].astype(np.float64)))]
    if p.get("temp", 0) == 0:
        return ids[:1], x[ids[:1]].astype(np.float64)
    if p.get("top_k", 0):
        ids = ids[: p["top_k"]]
    if 0 < p.get("typical", 0) < 1:
        q = softmax(x[ids].astype(np.float64))
        h = -(q * np.log(q)).sum()
        order = np.lexsort((ids, np.abs(-np.log(q) - h)))
        n = np.searchsorted(np.cumsum(q[order]), np.float64(np.float32(p["typical"]))) + 1
        ids = ids[order[:n]]
        ids = ids[np.lexsort((ids, -x[ids].astype(np.float64)))]
    if 0 < p.get("top_p", 0) < 1:
        q = softmax(x[ids].astype(np.float64))
        ids = ids[: np.searchsorted(np.cumsum(q), np.float64(np.float32(p["top_p"]))) + 1]
    if p.get("min_p", 0):
        q = softmax(x[ids].astype(np.float64))
        ids = ids[q >= np.float64(np.float32(p["min_p"])) * q.max()]
    return ids, x[ids].astype(np.float64)


def main():
    r = np.random.default_rng(20260101)
    cases = []
    settings = [
        ("greedy", {}),
        ("greedy_repetition", {"rep": 1.5}),
        ("temperature", {"temp": 0.7, "seed": 3}),
        ("hot", {"temp": 1.9, "seed": 4}),
        ("top_k", {"temp": 1.0, "top_k": 5, "seed": 5}),
        ("top_k_1", {"temp": 1.0, "top_k": 1, "seed": 5}),
        ("top_k_all", {"temp": 1.0, "top_k": 500, "seed": 5}),
        ("top_p", {"temp": 1.0, "top_p": 0.8, "seed": 6}),
        ("top_p_tiny", {"temp": 1.0, "top_p": 0.001, "seed": 6}),
        ("min_p", {"temp": 1.3, "min_p": 0.1, "seed": 7}),
        ("min_p_1", {"temp": 1.3, "min_p": 1.0, "seed": 7}),
        ("typical", {"temp": 1.0, "typical": 0.6, "seed": 8}),
        ("penalties", {"temp": 0.9, "rep": 1.3, "pres": 0.5, "freq": 0.25, "seed": 9}),
        ("window_3", {"temp": 0.9, "freq": 1.5, "window": 3, "seed": 10}),
        ("window_all", {"temp": 0.9, "freq": 0.125, "window": -1, "seed": 11}),
        ("bias", {"temp": 1.0, "bias": [(3, 4.0), (7, -np.inf), (0, -2.5)], "top_k": 9, "seed": 12}),
        ("all", {"temp": 0.8, "top_k": 30, "typical": 0.9, "top_p": 0.9, "min_p": 0.05, "rep": 1.1,
                 "pres": 0.2, "freq": 0.1, "seed": 13}),
        ("default_seed", {"temp": 1.0}),
    ]
    for name, p in settings:
        n = 48
        logits = (r.standard_normal(n) * 2.5).astype(np.float32)
        logits[11] = logits[29]  # a tie
        history = [int(v) for v in r.integers(0, n, 90)]
        ids, x = kept(logits, history, p)
        temp = p.get("temp", 0) and float(np.float32(p["temp"]))
        q = softmax(x / temp) if temp else np.ones(1)
        u = rng(p.get("seed", 0) or 1)
        draws = []
        for _ in range(12):
            draws.append(int(ids[min(np.searchsorted(np.cumsum(q), next(u), side="right"), len(ids) - 1)]) if temp else int(ids[0]))
        cases.append("\n".join([
            f"case {name}",
            "logits " + " ".join(f"{v:.9g}" for v in logits),
            "history " + " ".join(map(str, history)),
            "bias " + " ".join(f"{i} {b:g}" for i, b in p.get("bias", [])),
            "set " + " ".join(f"{p.get(k, 0):g}" for k in
                              ("temp", "top_k", "top_p", "min_p", "typical", "rep", "pres", "freq", "window", "seed")),
            "keep " + " ".join(f"{i} {v:.9g}" for i, v in sorted(zip(ids.tolist(), q.tolist()))),
            "draw " + " ".join(map(str, draws))]))
    out = pathlib.Path(__file__).parent / "data" / "sampler.txt"
    out.write_text("\n".join(cases) + "\n")


main()
