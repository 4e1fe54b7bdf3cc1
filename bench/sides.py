"""What `make bench` measures: every side is a function that runs one fresh process and returns {metric: value}; ours adds what the machine allowed.

A metric's name ends in its unit; ms, s and MB are better when they are small."""
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "bench/out"
PY = str(ROOT / "bench/.venv/bin/python")
HEARTH = os.environ.get("HEARTH_BIN", str(ROOT / "build/hearth"))
MODELS = ROOT / "models"
DEMO = str(MODELS / "SmolLM2-135M-Instruct.Q4_1.gguf")
MINILM = str(MODELS / "all-MiniLM-L6-v2")
MANUAL = "/usr/share/doc/postgresql-doc-15/html"
LIMIT_S = 900


class Failed(RuntimeError):
    """A side that cannot run, or whose output is not to be believed; the text goes into the table."""


def run(cmd, env=None, keep_err=False):
    try:
        p = subprocess.run(cmd, capture_output=True, text=True, timeout=LIMIT_S, env={**os.environ, **(env or {})})
    except subprocess.TimeoutExpired:
        raise Failed(f"took more than {LIMIT_S} s") from None
    except OSError as why:
        raise Failed(str(why)) from None
    if p.returncode:
        last = [line for line in p.stderr.strip().splitlines() if line.strip()][-1:] or [""]
        raise Failed(f"exit {p.returncode}: {last[0][:120]}")
    return p.stderr if keep_err else p.stdout


def parse(text):
    try:
        return json.loads(text.strip().splitlines()[-1] if not text.lstrip().startswith("[") else text)
    except (ValueError, IndexError):
        raise Failed("printed no JSON") from None


# ---- files, made once into bench/out

def random_model(shape, mix):
    path = OUT / f"{shape}-{mix}.gguf"
    if not path.exists():
        print(f"making {path}", file=sys.stderr)
        run([PY, str(ROOT / "tools/make_model.py"), "--shape", shape, "--mix", mix, "--out", str(path)])
    return str(path)


def variant(kind):
    """The demo model requantised."""
    path = OUT / "ppl" / f"{kind}.gguf"
    if not path.exists():
        print(f"making {path}", file=sys.stderr)
        run([PY, str(ROOT / "tests/golden/make_ppl.py"), "variants", kind])
    return str(path)


def texts(n_tokens, n=256):
    """n texts of n_tokens word pieces from the manual, as JSONL."""
    path = OUT / f"texts-{n_tokens}.jsonl"
    if not path.exists():
        import html
        from tokenizers import Tokenizer
        tok = Tokenizer.from_file(os.path.join(MINILM, "tokenizer.json"))
        tok.no_truncation()
        tok.no_padding()
        words = []
        for f in sorted(os.listdir(MANUAL)):
            body = re.sub(r"(?s)<(script|style).*?</\1>|<[^>]+>", " ", open(os.path.join(MANUAL, f), errors="ignore").read())
            words += html.unescape(body).split()
            if len(words) > n * n_tokens * 2:
                break
        ids = tok.encode(" ".join(words)).ids
        step = n_tokens - 2
        with open(path, "w") as f:
            for i in range(n):
                f.write(json.dumps({"text": tok.decode(ids[i * step + 10:(i + 1) * step + 10])}) + "\n")
    return str(path)


# ---- language models

def metric(test, tokens, depth):
    return f"{'pp' if test == 'prompt' else 'tg'}{tokens}{f' @ {depth:,}' if depth else ''} t/s"


def lm_hearth(path, prompt, gen, depth, o, env=None):
    j = parse(run([HEARTH, "bench", "--model", path, "--prompt", prompt, "--gen", gen, "--depth", depth, "--repeats", str(o.repeats), "--threads",
                   str(o.threads), "--json", *o.ours], env))
    values = {metric(r["test"], r["tokens"], r["depth"]): r["best"] for r in j["rows"]}
    machine = {metric(r["test"], r["tokens"], r["depth"]): beside(r) for r in j["rows"]}
    plain = [f"{k['matrices']} x {k['type']}" for k in j["kernels"] if k["plain"]]
    return {**values, "machine": machine, "note": f"float rows: {', '.join(plain)}" if plain else "", "isa": j["isa"]}


def beside(r):
    """What stood beside a row of `hearth bench`."""
    return {"ceiling": r["ceiling"], "limit": r["limit"], "memory": r["memory_bytes_s"], "set": r["set_bytes_s"], "ops": r["operations_s"]}


def lm_llama(path, prompt, gen, depth, o):
    j = parse(run([PY, str(ROOT / "bench/peer_llama.py"), "--model", path, "--prompt", prompt, "--gen", gen, "--depth", depth, "--repeat",
                   str(o.repeats), "--threads", str(o.threads)]))
    return {metric(r["test"], r["tokens"], r["depth"]): r["tokens"] / min(r["seconds"]) for r in j["rows"]}


def peers_by_path(text):
    """BENCH_PEERS=/path/to/llama-bench[,name=/path...] -> {name: path}"""
    out = {}
    for part in filter(None, (text or "").split(",")):
        name, _, path = part.rpartition("=")
        out[name or pathlib.Path(path).parent.parent.parent.name or "peer"] = path
    return out


def lm_bench(tool, path, prompt, gen, depth, o):
    """Any llama-bench: llama.cpp's (-d) or ik_llama.cpp's (-gp)."""
    usage = subprocess.run([tool, "--help"], capture_output=True, text=True, timeout=60)
    usage = usage.stdout + usage.stderr
    base = [tool, "-m", path, "-t", str(o.threads), "-fa", "1", "-b", "512", "-ub", "512", "-ngl", "0", "-r", str(o.repeats), "-o", "json"]
    jobs = []
    for d in depth.split(","):
        if d == "0":
            jobs.append(base + ["-p", prompt, "-n", gen])
        elif "--n-depth" in usage:
            jobs.append(base + ["-p", prompt, "-n", gen, "-d", d])
        elif prompt != "0":
            raise Failed("knows no prompts at a depth")
        else:
            jobs.append(base + ["-p", "0", "-n", "0", "-gp", f"{d},{gen}"])
    jobs = [j for j in jobs if (prompt, gen) != ("0", "0")]
    values = {}
    for job in jobs:
        for r in parse(run(job)):
            deep = r.get("n_depth") or (r["n_prompt"] if r["n_gen"] else 0)
            test, n = ("generate", r["n_gen"]) if r["n_gen"] else ("prompt", r["n_prompt"])
            speeds = r.get("samples_ts") or [r["avg_ts"]]
            values[metric(test, n, deep)] = max(speeds)
    if not values or any(not v > 0 for v in values.values()):
        raise Failed("printed no speeds")
    return values


def wrong_output(tool, path):
    """'' or why the peer is not to be believed: its llama-perplexity, if it lies beside, on the start of the text, against ours."""
    ppl = pathlib.Path(tool).parent / "llama-perplexity"
    if not ppl.exists():
        return ""
    text = OUT / "ppl-start.txt"
    text.write_text((ROOT / "tests/golden/data/ppl.txt").read_text()[:9000])
    said = run([str(ppl), "-m", path, "-f", str(text), "-c", "512", "-b", "512", "-fa", "-t", str(os.cpu_count())], keep_err=True)
    found = re.search(r"Final estimate: PPL[^=]*= *([0-9.]+|nan)", said)
    ours = float(run([HEARTH, "perplexity", "--model", path, "--file", str(text), "--quiet"]))
    if found and not abs(float(found[1]) / ours - 1) < 0.1:
        return f"wrong output: perplexity {float(found[1]):.1f} for {ours:.1f}"
    return ""


# ---- the way to a first token

LLAMA_ONE = ("import sys,llama_cpp\nm=llama_cpp.Llama(sys.argv[1],n_ctx=4096,verbose=False,n_threads=int(sys.argv[2]))\n"
             "m.create_chat_completion(messages=[{'role':'user','content':'Hi'}],max_tokens=1,temperature=0)")
PEAK = ("import resource,subprocess,sys\nsubprocess.run(sys.argv[1:],check=True,stdout=subprocess.DEVNULL,stderr=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss/1024)")


def start(cmd):
    t = time.perf_counter()
    run(cmd)
    ms = (time.perf_counter() - t) * 1e3
    return {"start to first token ms": ms, "peak MB": float(run([sys.executable, "-c", PEAK, *cmd]))}


def start_hearth(o):
    return start([HEARTH, "generate", "--model", DEMO, "--prompt", "Hi", "--max-tokens", "1", "--temperature", "0", "--threads", str(o.threads)])


def start_llama(o):
    return start([PY, "-c", LLAMA_ONE, DEMO, str(o.threads)])


def first_token(side, n, *args):
    """A prompt of n tokens as the time that its first token takes."""
    got = side(*args)
    name = metric("prompt", n, 0)
    out = {"first token ms": 1e3 * n / got[name]}
    if "machine" in got:
        m = got["machine"][name]
        out["machine"] = {"first token ms": {**m, "ceiling": 1e3 * n / m["ceiling"]}}
    return out


# ---- texts to vectors

def embed_hearth(path, o, env=None, extra=()):
    j = parse(run([HEARTH, "bench", "--model", MINILM, "--file", path, "--repeats", "2", "--threads", str(o.threads), "--json", *o.ours, *extra], env))
    rows = {r["test"]: r for r in j["rows"]}
    e, q = rows["embed"], rows["query"]
    per_text = e["texts"] / e["tokens"]
    return {"texts/s": e["texts"] / min(e["seconds"]), "query ms": 1e3 * statistics.median(q["seconds"]),
            "machine": {"texts/s": {**beside(e), "ceiling": e["ceiling"] * per_text},
                        "query ms": {**beside(q), "ceiling": 1e3 * q["tokens"] / q["ceiling"]}}, "isa": j["isa"]}


# What torch and the libraries under it read to leave AVX-512 alone. onnxruntime has no such switch.
TORCH_AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "DNNL_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}


def embed_peer(engine, path, o, env=None):
    j = parse(run([PY, str(ROOT / "bench/peer_embed.py"), "--engine", engine, "--model", MINILM, "--texts", path, "--threads", str(o.threads),
                   "--repeat", "2"], env))
    return {"texts/s": max(j["texts_per_s"]), "query ms": j["query_ms"]}


# ---- pairs to scores

def reranker():
    """A MiniLM-sized cross-encoder with a random head."""
    path = OUT / "minilm-rerank"
    if not (path / "config.json").exists():
        run([PY, str(ROOT / "bench/make_reranker.py"), "--base", MINILM, "--out", str(path)])
    return str(path)


def request(n_tokens, n=20):
    """A query and n documents from the manual, each pair of n_tokens word pieces."""
    path = OUT / f"request-{n}x{n_tokens}.json"
    if not path.exists():
        from tokenizers import Tokenizer
        tok = Tokenizer.from_file(os.path.join(MINILM, "tokenizer.json"))
        tok.no_truncation()
        tok.no_padding()
        query = "how do I create an index concurrently in a large database without blocking?"
        room = n_tokens - len(tok.encode(query).ids) - 1
        documents = []
        for line in open(texts(256)):
            ids = tok.encode(json.loads(line)["text"], add_special_tokens=False).ids[:room]
            text = tok.decode(ids)
            if len(tok.encode(text, add_special_tokens=False).ids) == room:
                documents.append(text)
        path.write_text(json.dumps({"query": query, "documents": documents[:n]}))
    return str(path)


def rerank_hearth(o, extra=()):
    j = parse(run([HEARTH, "bench", "--model", reranker(), "--file", request(200), "--repeats", "5", "--threads", str(o.threads), "--json", *o.ours, *extra]))
    r = j["rows"][0]
    return {"request ms": 1e3 * min(r["seconds"]), "machine": {"request ms": {**beside(r), "ceiling": 1e3 * r["tokens"] / r["ceiling"]}}, "isa": j["isa"]}


def rerank_peer(engine, o):
    j = parse(run([PY, str(ROOT / "bench/peer_rerank.py"), "--engine", engine, "--model", reranker(), "--request", request(200), "--threads",
                   str(o.threads)]))
    return {"request ms": 1e3 * min(j["seconds"])}


# ---- documents to a library

def ingest(o):
    home = OUT / "ingest-home"
    run(["rm", "-rf", str(home)])
    t = time.perf_counter()
    out = run([HEARTH, "add", MANUAL, "--home", str(home), "--threads", str(o.threads), "--json"])
    s = time.perf_counter() - t
    n = parse(out)
    return {"pages/s": n["report"]["added"] / s, "total s": s}
