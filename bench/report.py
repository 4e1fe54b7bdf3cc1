"""Tables of bench/out/bench.json: Markdown for bench/out/bench.md and, between its markers, for docs/benchmarks.md."""
import importlib.metadata
import os
import platform
import re
import statistics
import subprocess

HEAD = ("| row | metric | side | best | median | of the ceiling | hearth is, best / median | beside it |\n"
        "|---|---|---|---:|---:|---:|---:|---|\n")


def small(metric):
    """True where less is better."""
    return metric.split()[-1] in ("ms", "s", "MB")


def number(v):
    return f"{v:,.0f}" if v >= 1000 else f"{v:.1f}" if v >= 10 else f"{v:.2f}"


def cpu_name():
    try:
        return re.search(r"model name\s*: (.*)", open("/proc/cpuinfo").read())[1]
    except (OSError, TypeError):
        return platform.processor() or platform.machine()


def version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def machine():
    gcc = subprocess.run(["gcc", "--version"], capture_output=True, text=True).stdout.split("\n")[0]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"cpu": cpu_name(), "cores": os.cpu_count(), "memory GB": round(pages / 1e9), "compiler": gcc,
            "peers": {p: version(p) for p in ("llama-cpp-python", "onnxruntime", "torch", "sentence-transformers")}}


def beside(values):
    """The machine as it was beside a row: best of the rounds."""
    if not values:
        return ""
    memory, held, ops = (max(v[k] for v in values) for k in ("memory", "set", "ops"))
    reading = f"{memory / 1e9:.1f} GB/s" + (f", {held / 1e9:.1f} from cache" if held > 1.1 * memory else "")
    return f"{ops / 1e12:.2f} TOPS, {reading}"


def lines(name, row, metric, first):
    """One line per side of a metric; ours (the first) is what the ratios compare."""
    sides = row["sides"]
    pick = min if small(metric) else max
    ours = next((s for s in sides.values() if s["values"].get(metric)), None)
    stood = [m for s in sides.values() for m in s["machine"].get(metric, [])]
    for side, s in sides.items():
        v, own = s["values"].get(metric), s["machine"].get(metric)
        if not v:
            continue
        best, median = pick(v), statistics.median(v)
        ceiling = pick(m["ceiling"] for m in (own or stood)) if stood else 0
        share = f"{100 * (ceiling / best if small(metric) else best / ceiling):.0f} %" if ceiling else ""
        ratio = ""
        if s is not ours and not side.startswith("hearth"):
            b, m = pick(ours["values"][metric]), statistics.median(ours["values"][metric])
            ratio = f"{best / b:.2f} / {median / m:.2f} x" if small(metric) else f"{b / best:.2f} / {m / median:.2f} x"
        note = ", ".join(filter(None, (beside(own), s.get("note"))))
        if side.startswith("hearth") and row.get("load") and own:
            note += f", load {row['load'][0]:.0f}-{row['load'][1]:.0f}"
        yield f"| {name if first else ''} | {metric} | {side} | {number(best)} | {number(median)} | {share} | {ratio} | {note} |\n"
        first = False


def table(data, names, head=True):
    out = HEAD if head else ""
    for name in names:
        row = data["rows"].get(name)
        if not row:
            continue
        metrics = []
        for s in row["sides"].values():
            metrics += [m for m in s["values"] if m not in metrics]
        first = True
        for metric in metrics:
            out += "".join(lines(name, row, metric, first))
            first = False
        for side, s in row["sides"].items():
            if s.get("why"):
                out += f"| {name if first else ''} | not run | {side} | | | | | {s['why']} |\n"
                first = False
    return out


def described(data):
    m = data["machine"]
    peers = ", ".join(f"{k} {v}" for k, v in m["peers"].items())
    rows = data["rows"].values()
    stood = [v for r in rows for s in r["sides"].values() for vs in s["machine"].values() for v in vs]
    days = sorted({r["when"][:10] for r in rows if r.get("when")})
    text = f"{m['cpu']}, {m['cores']} cores, {m['memory GB']} GB; {m['compiler']}; peers: {peers}; measured {', '.join(days)}.\n"
    if stood:
        full = [v for v in stood if v["ops"] > 0.5 * max(s["ops"] for s in stood)]
        text += (f"Ceilings beside the rows, lowest to highest: {min(v['ops'] for v in full) / 1e12:.2f} to {max(v['ops'] for v in full) / 1e12:.2f} TOPS of "
                 f"8-bit products; {min(v['memory'] for v in full) / 1e9:.1f} to {max(v['memory'] for v in full) / 1e9:.1f} GB/s read from memory.\n")
    return text


def of_group(data, group):
    return [n for n in data["order"] if data["groups"][n] == group]


def everything(data):
    out = "# hearth beside its peers\n\n" + described(data)
    for group in dict.fromkeys(data["groups"].values()):
        rows = table(data, of_group(data, group))
        if rows != HEAD:
            out += f"\n## {group}\n\n{rows}"
    return out


def into_doc(data, path):
    """Replaces what stands between <!-- bench:GROUP --> and <!-- end --> (GROUP 'machine': the description)."""
    def fill(m):
        body = described(data) if m[1] == "machine" else table(data, of_group(data, m[1]))
        body = "Not measured yet.\n" if body == HEAD else body
        return f"<!-- bench:{m[1]} -->\n{body}<!-- end -->"
    text = path.read_text()
    path.write_text(re.sub(r"(?s)<!-- bench:(\w+) -->.*?<!-- end -->", fill, text))
