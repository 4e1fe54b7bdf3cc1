"""make bench: hearth beside its peers on the same files and machine, with the same number of threads.

Every row runs its sides in turn, --rounds times, each in a fresh process, so that phases of the machine hit all alike; `hearth bench` measures
the machine's ceilings beside every row. Tables go to stdout and bench/out/bench.md, all values to bench/out/bench.json, progress to stderr; rows that
are not run keep what an earlier run left there. Losing rows stay, and a side that cannot run is said.

--only NAME[;NAME]  rows whose name contains one of these (=NAME: is)     --quick     a few rows, one round: about three minutes
--doc               also puts the tables into docs/benchmarks.md; with --rounds 0 only that
BENCH_PEERS=/path/to/llama-bench[,name=/path...] adds peers that the reader has built; BENCH_PEERS_AVX2 those built without AVX-512, for the rows
of AVX2 alone."""
import argparse
import json
import os
import sys
import time

import report
import sides
from sides import Failed

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--rounds", type=int, help="default: 5; long rows 2")
ap.add_argument("--repeats", type=int, default=2, help="runs in one process, the best counts, for every side")
ap.add_argument("--threads", type=int, default=os.cpu_count())
ap.add_argument("--only", default="")
ap.add_argument("--quick", action="store_true")
ap.add_argument("--doc", action="store_true")
ap.add_argument("--pin", action="store_true", help="tie our threads to cores (the peers' are where they are)")
ap.add_argument("--list", action="store_true", help="only the names of the rows")
ap.add_argument("--sides", default="", help="only sides whose name contains one of these")
o = ap.parse_args()
o.ours = ["--pin"] if o.pin else []
PEERS = sides.peers_by_path(os.environ.get("BENCH_PEERS"))
PEERS_AVX2 = sides.peers_by_path(os.environ.get("BENCH_PEERS_AVX2"))


def lm(make_path, prompt="512", gen="128", depth="0"):
    def made():
        path = make_path()
        args = (path, prompt, gen, depth, o)
        out = {"hearth": lambda: sides.lm_hearth(*args), "llama.cpp": lambda: sides.lm_llama(*args)}
        for name, tool in PEERS.items():
            out[name] = checked_peer(tool, args)
        return out
    return made


def checked_peer(tool, args):
    state = {}

    def side():
        if "why" not in state:
            state["why"] = sides.wrong_output(tool, args[0]) if "SmolLM2" in args[0] or "/ppl/" in args[0] else ""
        got = sides.lm_bench(tool, *args)
        return {**got, "note": state["why"]}
    return side


def first_token():
    args = (sides.DEMO, "1355", "0", "0", o)
    out = {"hearth": lambda: sides.first_token(sides.lm_hearth, 1355, *args), "llama.cpp": lambda: sides.first_token(sides.lm_llama, 1355, *args)}
    for name, tool in PEERS.items():
        out[name] = lambda tool=tool: sides.first_token(sides.lm_bench, 1355, tool, *args)
    return out


def embed(n):
    def made():
        path = sides.texts(n)
        return {"hearth": lambda: sides.embed_hearth(path, o), "hearth int8": lambda: sides.embed_hearth(path, o, extra=["--embed-precision", "int8"]),
                **{e: lambda e=e: sides.embed_peer(e, path, o) for e in ("onnx", "onnx-int8", "torch", "torch-bf16")}}
    return made


def rerank():
    return {"hearth": lambda: sides.rerank_hearth(o), "hearth int8": lambda: sides.rerank_hearth(o, ["--embed-precision", "int8"]),
            **{e: lambda e=e: sides.rerank_peer(e, o) for e in ("onnx", "onnx-int8", "torch", "torch-bf16")}}


def masked(row):
    """Our side with instruction sets masked."""
    flags = open("/proc/cpuinfo").read() if os.path.exists("/proc/cpuinfo") else ""
    sets = [name for name, flag in (("avx512", "avx512_vnni"), ("avxvnni", "avx_vnni"), ("avx2", "avx2")) if f" {flag} " in flags]

    def made():
        if row == "embed":
            path = sides.texts(128)
            out = {f"hearth {i}": lambda i=i: sides.embed_hearth(path, o, {"HEARTH_ISA": i}) for i in sets}
            return {**out, "onnx-int8 (all)": lambda: sides.embed_peer("onnx-int8", path, o)}
        args = (row(), "512", "128", "0", o)
        out = {f"hearth {i}": lambda i=i: sides.lm_hearth(*args, {"HEARTH_ISA": i}) for i in sets}
        return {**out, "llama.cpp (all)": lambda: sides.lm_llama(*args)}
    return made


def avx2_only(make_path):
    """Ours masked to AVX2 beside peers built without AVX-512."""
    def made():
        args = (make_path(), "512", "128", "0", o)
        out = {"hearth": lambda: sides.lm_hearth(*args, {"HEARTH_ISA": "avx2"})}
        for name, tool in PEERS_AVX2.items():
            out[name] = lambda tool=tool: sides.lm_bench(tool, *args)
        return out
    return made


def embed_avx2():
    path = sides.texts(128)
    ours = {"HEARTH_ISA": "avx2"}
    return {"hearth": lambda: sides.embed_hearth(path, o, ours), "hearth int8": lambda: sides.embed_hearth(path, o, ours, ["--embed-precision", "int8"]),
            "torch": lambda: sides.embed_peer("torch", path, o, sides.TORCH_AVX2)}


def big(mix):
    return lambda: sides.random_model("llama-3.2-1b", mix)


# (group, name, rounds, quick, sides)
ROWS = [
    ("lm", "SmolLM2-135M Q4_1 (demo)", 5, True, lm(lambda: sides.DEMO)),
    ("lm", "SmolLM2-135M Q4_0", 5, False, lm(lambda: sides.variant("Q4_0"))),
    ("lm", "SmolLM2-135M Q8_0", 5, False, lm(lambda: sides.variant("Q8_0"))),
    ("lm", "Llama-3.2-1B shape Q4_K_M", 5, False, lm(big("Q4_K_M"))),
    ("lm", "Llama-3.2-1B shape Q8_0", 5, False, lm(big("Q8_0"))),
    ("lm", "Llama-3.2-1B shape Q4_0", 5, False, lm(big("Q4_0"))),
    ("depth", "Llama-3.2-1B shape Q4_K_M, long prompt", 2, False, lm(big("Q4_K_M"), prompt="512,4096", gen="0")),
    ("depth", "SmolLM2-135M Q4_1, depth", 3, False, lm(lambda: sides.DEMO, prompt="0", gen="32", depth="0,1355,8064")),
    ("depth", "Llama-3.2-1B shape Q4_K_M, depth", 2, False, lm(big("Q4_K_M"), prompt="0", gen="32", depth="0,1355,8192")),
    ("depth", "Llama-3.2-1B shape Q4_K_M, a prompt at depth", 2, False, lm(big("Q4_K_M"), gen="0", depth="4096")),
    ("first", "RAG prompt, 1,355 tokens, SmolLM2 Q4_1", 5, True, first_token),
    ("first", "start-up, SmolLM2 Q4_1", 5, True, lambda: {"hearth": lambda: sides.start_hearth(o), "llama.cpp": lambda: sides.start_llama(o)}),
    ("embed", "MiniLM, 128-token texts", 5, True, embed(128)),
    ("embed", "MiniLM, 256-token texts", 5, False, embed(256)),
    ("rerank", "MiniLM-sized reranker, 20 pairs of 200 tokens", 5, True, rerank),
    ("ingest", "ingest, PostgreSQL manual", 1, False, lambda: {"hearth": lambda: sides.ingest(o)}),
    ("isa", "masked: SmolLM2-135M Q4_1", 3, False, masked(lambda: sides.DEMO)),
    ("isa", "masked: Llama-3.2-1B shape Q4_K_M", 2, False, masked(big("Q4_K_M"))),
    ("isa", "masked: MiniLM, 128-token texts", 3, False, masked("embed")),
    ("isa", "AVX2 only: SmolLM2-135M Q4_1", 3, False, avx2_only(lambda: sides.DEMO)),
    ("isa", "AVX2 only: Llama-3.2-1B shape Q4_K_M", 2, False, avx2_only(big("Q4_K_M"))),
    ("isa", "AVX2 only: MiniLM, 128-token texts", 2, False, embed_avx2),
]


def named(name, part):
    return name == part[1:] if part.startswith("=") else part in name


def measure(name, rounds, make):
    """{side: {"values": {metric: [...]}, "machine": {metric: [...]}, "why": text or None, "note": text}}"""
    result, load = {}, [os.getloadavg()[0]]
    todo = {s: f for s, f in make().items() if not o.sides or any(p in s for p in o.sides.split(","))}
    for n in range(rounds):
        for side, f in list(todo.items()):
            begin = time.time()
            r = result.setdefault(side, {"values": {}, "machine": {}, "why": None, "note": ""})
            try:
                got = f()
            except Failed as why:  # said in the table, and does not end the others
                r["why"] = str(why)
                del todo[side]
                continue
            finally:
                print(f"  {name}, round {n + 1} of {rounds}: {side} {time.time() - begin:.1f} s", file=sys.stderr, flush=True)
            r["note"] = got.pop("note", "") or r["note"]
            r["isa"] = got.pop("isa", None)
            for m, beside in got.pop("machine", {}).items():
                r["machine"].setdefault(m, []).append(beside)
            for m, v in got.items():
                r["values"].setdefault(m, []).append(v)
        load.append(os.getloadavg()[0])
    return {"sides": result, "load": [min(load), max(load)], "rounds": rounds, "threads": o.threads, "repeats": o.repeats,
            "when": time.strftime("%Y-%m-%d %H:%M")}


def main():
    os.makedirs(sides.OUT, exist_ok=True)
    store = sides.OUT / "bench.json"
    data = json.loads(store.read_text()) if store.exists() else {"rows": {}}
    data["machine"] = report.machine()
    data["order"] = [name for _, name, *_ in ROWS]
    data["groups"] = {name: group for group, name, *_ in ROWS}
    wanted = [r for r in ROWS if (not o.only or any(named(r[1], p) for p in o.only.split(";"))) and (r[3] or not o.quick)]
    if o.list:
        print("\n".join(r[1] for r in wanted))
        return
    begin = time.time()
    for i, (_, name, rounds, _, make) in enumerate(wanted if o.rounds != 0 else []):
        print(f"[{i + 1}/{len(wanted)}] {name}", file=sys.stderr)
        try:
            row = measure(name, o.rounds or (1 if o.quick else rounds), make)
        except Failed as why:  # the row's file cannot be made
            row = {"sides": {"hearth": {"values": {}, "machine": {}, "why": str(why), "note": ""}}, "load": [0, 0], "rounds": 0}
        if o.sides and name in data["rows"]:  # some sides only: the others stay
            row["sides"] = {**data["rows"][name]["sides"], **row["sides"]}
        data["rows"][name] = row
        store.write_text(json.dumps(data, indent=1))
        print(report.table(data, [name], head=i == 0), end="", flush=True)
    text = report.everything(data)
    (sides.OUT / "bench.md").write_text(text)
    if o.doc:
        report.into_doc(data, sides.ROOT / "docs/benchmarks.md")
    print(f"{len(wanted)} rows in {(time.time() - begin) / 60:.1f} minutes; bench/out/bench.md has every table", file=sys.stderr)


main()
