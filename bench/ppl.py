"""make ppl: perplexity of every weight type, three ways on the same file: the default kernels, the plain path (--exact) and llama.cpp.

Remakes the variants of the demo model (tests/golden/make_ppl.py) that are missing, then prints the table of docs/accuracy.md; --doc puts it there.
The gates: the default path within 0.2 % of the plain one, and not more than 0.2 % above llama.cpp. Exits with 1 when a type misses one.
Values are kept in bench/out/ppl.json by file, text and program, so that it can be run in slices; those of the plain path as long as it gives
the same value on the first window."""
import argparse
import hashlib
import json
import pathlib
import re
import sys

import sides

HERE = sides.ROOT / "tests/golden"
sys.path.insert(0, str(HERE))
import make_ppl  # noqa: E402

KINDS = ("Q4_1", *make_ppl.FLOATS, *make_ppl.MIXES)
WINDOW = 512

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("kinds", nargs="*", help=f"of {' '.join(KINDS)}; default: all")
ap.add_argument("--bytes", type=int, default=0, help="of the text, 0: all of it (27 windows; of fewer, a rounding moves some types by 0.3 %)")
ap.add_argument("--threads", type=int, default=2)
ap.add_argument("--fresh", action="store_true", help="measure again what is known")
ap.add_argument("--doc", action="store_true")
ap.add_argument("--ahead", action="store_true", help="only the two slow ways, plain and llama.cpp; prints nothing")
o = ap.parse_args()
STORE = sides.OUT / "ppl.json"


def digest(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()[:16]


def start_of_text(n_bytes):
    path = sides.OUT / f"ppl-text-{n_bytes}.txt"
    data = (HERE / "data/ppl.txt").read_bytes()
    path.write_bytes(data[:n_bytes] if n_bytes else data)
    return str(path)


def hearth(path, text, *more):
    j = json.loads(sides.run([sides.HEARTH, "perplexity", "--model", path, "--file", text, "--ctx", str(WINDOW), "--threads", str(o.threads),
                              "--json", *more]))
    return [j["perplexity"], j["windows"]]


def llama(path, text):
    value, n = make_ppl.perplexity(path, pathlib.Path(text).read_bytes())
    return [value, n // (WINDOW // 2 - 1)]


def measure(kind, text, known):
    path = sides.DEMO if kind == "Q4_1" else sides.variant(kind)
    ways = {"fast": lambda: hearth(path, text), "plain": lambda: hearth(path, text, "--exact"), "llama.cpp": lambda: llama(path, text)}
    plain, _ = hearth(path, start_of_text(2600), "--exact")
    program = {"fast": f" {digest(sides.HEARTH)}", "plain": f" {plain:.6f}", "llama.cpp": ""}
    for way, f in ways.items():
        if o.ahead and way == "fast":
            continue
        key = f"{kind} {digest(path)} {digest(text)} {way}{program[way]}"
        if o.fresh or key not in known:
            known[key] = f()
            STORE.write_text(json.dumps(known, indent=1))
        yield known[key]


def main():
    known = json.loads(STORE.read_text()) if STORE.exists() else {}
    text, missed, out = start_of_text(o.bytes), [], ""
    if o.ahead:
        for kind in o.kinds or KINDS:
            for _ in measure(kind, text, known):
                pass
        return
    head = ("| weights | windows | hearth | plain path | difference | llama.cpp | difference |\n|---|---:|---:|---:|---:|---:|---:|\n")
    print(head, end="")
    for kind in o.kinds or KINDS:
        (fast, windows), (plain, n_plain), (peer, n_peer) = measure(kind, text, known)
        assert windows == n_plain == n_peer, "not the same windows"
        if fast / plain - 1 > 0.002 or fast / peer - 1 > 0.002 or fast != fast:
            missed.append(kind)
        line = f"| {kind} | {windows} | {fast:.4f} | {plain:.4f} | {100 * (fast / plain - 1):+.2f} % | {peer:.4f} | {100 * (fast / peer - 1):+.2f} % |\n"
        print(line, end="", flush=True)
        out += line
    if o.doc:
        doc = sides.ROOT / "docs/accuracy.md"
        doc.write_text(re.sub(r"(?s)<!-- ppl -->.*?<!-- end -->", lambda m: f"<!-- ppl -->\n{head}{out}<!-- end -->", doc.read_text()))
    if missed:
        sys.exit(f"past a gate: {', '.join(missed)}")


main()
