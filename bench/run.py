"""make bench: hearth beside its peers, same files, same machine, same thread count, interleaved runs, best and median of several.

Every row runs ours and the peers in turn, `--rounds` times, each in a fresh process, so that phases of the machine hit all sides alike. Prints a Markdown table and writes
bench/out/bench.json. `--only NAME` (substring) picks rows. Losing rows stay."""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OUT = os.path.join(ROOT, "bench/out")
PY = os.path.join(ROOT, "bench/.venv/bin/python")
HEARTH = os.path.join(ROOT, "build/hearth")
DEMO = os.path.join(ROOT, "models/SmolLM2-135M-Instruct.Q4_1.gguf")
MINILM = os.path.join(ROOT, "models/all-MiniLM-L6-v2")
MANUAL = "/usr/share/doc/postgresql-doc-15/html"

ap = argparse.ArgumentParser()
ap.add_argument("--rounds", type=int, default=5)
ap.add_argument("--threads", type=int, default=os.cpu_count())
ap.add_argument("--only", default="")
ap.add_argument("--out", default=os.path.join(OUT, "bench.json"))
a = ap.parse_args()
os.makedirs(OUT, exist_ok=True)
T = str(a.threads)


def run(cmd, **kw):
    p = subprocess.run(cmd, capture_output=True, text=True, **kw)
    if p.returncode:
        raise RuntimeError(f"{' '.join(cmd)}: exit {p.returncode}: {p.stderr[-400:]}")
    return p.stdout


def model(shape, types):
    """A random-weight GGUF of this shape, made once."""
    path = os.path.join(OUT, f"{shape}-{types}.gguf")
    if not os.path.exists(path):
        print(f"making {path}", file=sys.stderr)
        run([PY, os.path.join(ROOT, "tools/make_model.py"), "--shape", shape, "--mix", types, "--out", path])
    return path


def texts(n_tokens, n=256):
    """n texts of about n_tokens word pieces from the manual, as JSONL."""
    path = os.path.join(OUT, f"texts-{n_tokens}.jsonl")
    if not os.path.exists(path):
        import html
        import re
        from tokenizers import Tokenizer
        tok = Tokenizer.from_file(os.path.join(MINILM, "tokenizer.json"))
        tok.no_truncation()
        tok.no_padding()
        out, words = [], []
        for f in sorted(os.listdir(MANUAL)):
            body = re.sub(r"(?s)<(script|style).*?</\1>|<[^>]+>", " ", open(os.path.join(MANUAL, f), errors="ignore").read())
            words += html.unescape(body).split()
            if len(words) > n * n_tokens * 2:
                break
        ids = tok.encode(" ".join(words)).ids
        for i in range(n):
            out.append(tok.decode(ids[(i * (n_tokens - 2)) + 10:(i + 1) * (n_tokens - 2) + 10]))
        with open(path, "w") as f:
            for t in out:
                f.write(json.dumps({"text": t}) + "\n")
    return path


# ---- sides: each returns {metric: value}, higher is better unless the metric ends in _ms, _s or _mb ----

def hearth_lm(path, prompt=512, gen=128, depth=0):
    def side():
        j = json.loads(run([HEARTH, "bench", "--model", path, "--prompt", str(prompt), "--gen", str(gen), "--depth", str(depth), "--repeats", "1",
                            "--threads", T, "--json"]))
        return {"prompt t/s": j["prompt"]["best"], "gen t/s": j["generate"]["best"]}
    return side


def llama_lm(path, prompt=512, gen=128, depth=0):
    def side():
        j = json.loads(run([PY, os.path.join(ROOT, "bench/peer_llama.py"), "--model", path, "--prompt", str(prompt), "--gen", str(gen), "--depth",
                            str(depth), "--threads", T]).strip().splitlines()[-1])
        return {"prompt t/s": max(j["prompt_tps"], default=0), "gen t/s": max(j["gen_tps"], default=0)}
    return side


def hearth_embed(path):
    def side():
        j = json.loads(run([HEARTH, "bench", "--model", MINILM, "--file", path, "--repeats", "2", "--threads", T, "--json"]))
        return {"texts/s": j["texts"] / min(j["embed"]["seconds"]), "query ms": 1e3 * statistics.median(j["query"]["seconds"])}
    return side


def peer_embed(engine, path):
    def side():
        j = json.loads(run([PY, os.path.join(ROOT, "bench/peer_embed.py"), "--engine", engine, "--model", MINILM, "--texts", path, "--threads",
                            T]).strip().splitlines()[-1])
        return {"texts/s": max(j["texts_per_s"]), "query ms": j["query_ms"]}
    return side


def timed(cmd, **kw):
    t = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    out = run(cmd, **kw)
    return out, (time.perf_counter() - t) * 1e3, max(before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024


def peak(cmd):
    """Peak resident memory of one command, MiB."""
    return float(run(["/usr/bin/env", "python3", "-c",
                      "import resource,subprocess,sys\nsubprocess.run(sys.argv[1:],stdout=subprocess.DEVNULL,stderr=subprocess.DEVNULL)\n"
                      "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss/1024)", *cmd]))


def hearth_start():
    _, ms, _ = timed([HEARTH, "generate", "--model", DEMO, "--prompt", "Hi", "--max-tokens", "1", "--temperature", "0", "--threads", T])
    return {"start to first token ms": ms, "peak MB": peak([HEARTH, "generate", "--model", DEMO, "--prompt", "Hi", "--max-tokens", "1", "--threads", T])}


LLAMA_ONE = ("import sys,llama_cpp\nm=llama_cpp.Llama(sys.argv[1],n_ctx=4096,verbose=False,n_threads=int(sys.argv[2]))\n"
             "m.create_chat_completion(messages=[{'role':'user','content':'Hi'}],max_tokens=1,temperature=0)")


def llama_start():
    cmd = [PY, "-c", LLAMA_ONE, DEMO, T]
    _, ms, _ = timed(cmd)
    return {"start to first token ms": ms, "peak MB": peak(cmd)}


def ingest():
    home = os.path.join(OUT, "ingest-home")
    run(["rm", "-rf", home])
    out, ms, _ = timed([HEARTH, "add", MANUAL, "--home", home, "--threads", T, "--json"])
    n = json.loads(out.strip().splitlines()[-1])
    pages = n.get("added", 0) or n.get("n_added", 0)
    return {"files/s": pages / ms * 1e3, "total s": ms / 1e3}


def rag_prompt():
    """Time to first token of a prompt of 5 x 256 tokens + question: a prompt of 1,355 tokens from empty, in process."""
    j = json.loads(run([HEARTH, "bench", "--model", DEMO, "--prompt", "1355", "--gen", "1", "--repeats", "1", "--threads", T, "--json"]))
    return {"first token ms": 1e3 * (j["prompt"]["seconds"][0] + j["generate"]["seconds"][0])}


def rag_llama():
    j = json.loads(run([PY, os.path.join(ROOT, "bench/peer_llama.py"), "--model", DEMO, "--prompt", "1355", "--gen", "1", "--threads",
                        T]).strip().splitlines()[-1])
    return {"first token ms": 1e3 * (1355 / j["prompt_tps"][0] + 1 / j["gen_tps"][0])}


def rows():
    yield "SmolLM2-135M Q4_1 (demo)", lambda: {"hearth": hearth_lm(DEMO), "llama.cpp": llama_lm(DEMO)}
    for t in ("Q4_K_M", "Q8_0", "Q4_0"):
        yield f"Llama-3.2-1B shape {t}", lambda t=t: {"hearth": hearth_lm(model("llama-3.2-1b", t)), "llama.cpp": llama_lm(model("llama-3.2-1b", t))}
    yield "SmolLM2 RAG prompt, 1,355 tokens", lambda: {"hearth": rag_prompt, "llama.cpp": rag_llama}
    yield "start-up, SmolLM2", lambda: {"hearth": hearth_start, "llama.cpp": llama_start}
    for n in (128, 256):
        yield f"MiniLM, {n}-token texts", lambda n=n: {"hearth": hearth_embed(texts(n)), **{e: peer_embed(e, texts(n)) for e in ("onnx", "onnx-int8", "torch")}}
    yield "ingest, PostgreSQL manual", lambda: {"hearth": ingest}


results = {}
print(f"| row | metric | side | best | median | hearth / side (best) |\n|---|---|---|---:|---:|---:|")
for name, make in rows():
    if a.only not in name:
        continue
    sides = make()
    got = {s: [] for s in sides}
    for _ in range(1 if name.startswith("ingest") else a.rounds):
        for s, f in list(sides.items()):
            try:
                got[s].append(f())
            except (RuntimeError, ValueError) as why:  # a side that cannot run is said, and does not end the others
                print(f"| {name} | not run | {s} | | | |", flush=True)
                print(f"{name}: {s}: {why}", file=sys.stderr)
                del sides[s], got[s]
    results[name] = got
    for metric in got.get("hearth", [{}])[0]:
        low = metric.split()[-1] in ("ms", "s", "MB") and not metric.endswith("/s")
        pick = min if low else max
        ours = pick(r[metric] for r in got["hearth"])
        for s in got:
            v = [r[metric] for r in got[s]]
            b = pick(v)
            ratio = (b / ours if low else ours / b) if b and ours else 0
            print(f"| {name} | {metric} | {s} | {b:.1f} | {statistics.median(v):.1f} | {'' if s == 'hearth' else f'{ratio:.2f} x'} |", flush=True)
cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
json.dump({"machine": cpu, "cores": os.cpu_count(), "threads": a.threads, "when": time.strftime("%Y-%m-%d"), "load": os.getloadavg(), "rows": results},
          open(a.out, "w"), indent=1)
