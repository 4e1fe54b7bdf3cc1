"""Where the time goes: shares of each function in a prompt, in generation and in embedding, by `perf record` on `hearth bench`.

Prints a table; --doc puts it into docs/benchmarks.md. What measures the machine (read_words, int_products), opening and the kernel's pages are left
out, so that the shares are of the work itself. Needs perf (Debian: linux-perf) and rows of /proc/sys/kernel/perf_event_paranoid below 3. (Not called profile.py: torch would
take it for Python's own module of that name.)"""
import argparse
import re
import sys

import sides

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--doc", action="store_true")
ap.add_argument("--least", type=float, default=1.5, help="percent; what is below is one sum")
o = ap.parse_args()
OURS = re.compile(r"\[\.\] +(\S+)")
APART = {"read_words", "int_products", "draw_operands", "fill"}


def rows():
    big = sides.random_model("llama-3.2-1b", "Q4_K_M")
    return [
        ("prompt of 512, SmolLM2 Q4_1", ["--model", sides.DEMO, "--prompt", "512", "--gen", "0", "--repeats", "20"]),
        ("prompt of 1,355, SmolLM2 Q4_1", ["--model", sides.DEMO, "--prompt", "1355", "--gen", "0", "--repeats", "10"]),
        ("generation, SmolLM2 Q4_1", ["--model", sides.DEMO, "--prompt", "0", "--gen", "128", "--repeats", "20"]),
        ("prompt of 512, 1B shape Q4_K_M", ["--model", big, "--prompt", "512", "--gen", "0", "--repeats", "6"]),
        ("generation, 1B shape Q4_K_M", ["--model", big, "--prompt", "0", "--gen", "128", "--repeats", "3"]),
        ("generation at 8,192, 1B shape Q4_K_M", ["--model", big, "--prompt", "0", "--gen", "32", "--depth", "8192", "--repeats", "12"]),
        ("128-token texts, MiniLM int8", ["--model", sides.MINILM, "--prompt", "128", "--embed-precision", "int8", "--repeats", "20"]),
    ]


def shares(arguments):
    data = str(sides.OUT / "perf.data")
    sides.run(["perf", "record", "-q", "-o", data, sides.HEARTH, "bench", "--quiet", *arguments])
    said = sides.run(["perf", "report", "-i", data, "--no-children", "--stdio", "-g", "none"])
    found = {}
    for line in said.splitlines():
        share, name = re.match(r" *([0-9.]+)%", line), OURS.search(line)
        if share and name and name[1] not in APART and "libc" not in line and "libpython" not in line:
            found[name[1]] = found.get(name[1], 0) + float(share[1])
    whole = sum(found.values())
    return {name: 100 * v / whole for name, v in sorted(found.items(), key=lambda x: -x[1])}


def main():
    text = "| work | functions, percent of the time of both cores |\n|---|---|\n"
    for name, arguments in rows():
        print(name, file=sys.stderr)
        try:
            found = shares(arguments)
        except sides.Failed as why:
            sys.exit(f"{name}: {why}")
        shown = [f"`{n}` {v:.0f}" if v >= 10 else f"`{n}` {v:.1f}" for n, v in found.items() if v >= o.least]
        rest = sum(v for v in found.values() if v < o.least)
        text += f"| {name} | {', '.join(shown)}, the rest {rest:.1f} |\n"
    print(text, end="")
    if o.doc:
        doc = sides.ROOT / "docs/benchmarks.md"
        doc.write_text(re.sub(r"(?s)<!-- profile -->.*?<!-- end -->", lambda m: f"<!-- profile -->\n{text}<!-- end -->", doc.read_text()))


main()
