"""How good are the answers? Puts questions with known answers, and questions that the library cannot answer, to `hearth chat --json`.

Library: the articles of squad2-dev-part.json, one text file each. Answerable: sampled SQuAD questions (the gold text must occur in the answer / in a quote).
Foreign: expert questions of covid-qa.json, which no article bears on (must be refused). Tricky: SQuAD's own unanswerable questions, written to look answerable.
Constants are chosen on the questions of one half of the articles (--half tune) and reported on those of the other (--half report)."""
import argparse
import json
import os
import random
import re
import subprocess

ap = argparse.ArgumentParser()
ap.add_argument("--hearth", default="build/hearth")
ap.add_argument("--data", default="../shared/data")
ap.add_argument("--home", default="bench/out/eval-home")
ap.add_argument("--n", type=int, default=60, help="answerable questions; half as many of the other two kinds")
ap.add_argument("--half", choices=["tune", "report", "both"], default="both")
ap.add_argument("--seed", type=int, default=7)
ap.add_argument("--verbose", action="store_true")
ap.add_argument("--dump", help="file for all answers, one JSON object a line")
ap.add_argument("rest", nargs="*", help="further options for hearth chat")
a = ap.parse_args()
data = json.load(open(os.path.join(a.data, "qa/squad2-dev-part.json")))
articles = data["data"] if isinstance(data, dict) else data
docs = os.path.join(os.path.dirname(a.home), "eval-docs")
os.makedirs(docs, exist_ok=True)
half = lambda seq: {"tune": seq[0::2], "report": seq[1::2], "both": seq}[a.half]
good, tricky = [], []
for art in articles:
    with open(os.path.join(docs, re.sub(r"\W+", "_", art["title"]) + ".md"), "w") as f:
        f.write("# " + art["title"].replace("_", " ") + "\n\n" + "\n\n".join(p["context"] for p in art["paragraphs"]) + "\n")
for art in half(articles):
    for p in art["paragraphs"]:
        for q in p["qas"]:
            (tricky if q["is_impossible"] else good).append((" ".join(q["question"].split()), [x["text"] for x in q["answers"]]))
covid = json.load(open(os.path.join(a.data, "qa/covid-qa.json")))
foreign = half([(" ".join(q["question"].split()), []) for d in covid["data"] for p in d["paragraphs"] for q in p["qas"]])
random.seed(a.seed)
sets = {"answerable": random.sample(good, a.n), "foreign": random.sample(foreign, a.n // 2), "tricky": random.sample(tricky, a.n // 2)}
subprocess.run([a.hearth, "add", docs, "--home", a.home], check=True, capture_output=True)


def ask(questions):
    """All in one process, each in a conversation of its own."""
    lines = "".join(q + "\n/reset\n" for q in questions)
    r = subprocess.run([a.hearth, "chat", "--json", "--quiet", "--home", a.home, *a.rest], input=lines, capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in r.stdout.splitlines()]
    assert [j["question"] for j in answers] == list(questions)
    return answers


def norm(s):
    return re.sub(r"[^a-z0-9]+", " ", s.lower()).strip()


def has(text, gold):
    return any(norm(g) and norm(g) in norm(text) for g in gold)


answers = ask([q for qs in sets.values() for q, _ in qs])
dump = open(a.dump, "w") if a.dump else None
for name, qs in sets.items():
    hit = quoted = refused = model_hit = words = fell_back = 0
    for q, gold in qs:
        j = answers.pop(0)
        refused += j["refused"]
        ok = has(j["answer"], gold)
        hit += ok
        model_hit += has(j["model_text"], gold)
        quoted += has(" ".join(c["quote"] for c in j["citations"]), gold)
        words += len(j["answer"].split())
        fell_back += bool(j["citations"]) and not any(s["supported"] for s in j["sentences"])
        if dump:
            dump.write(json.dumps({"kind": name, "gold": gold, **j}) + "\n")
        if a.verbose:
            print(("+" if ok else "R" if j["refused"] else "-"), q, "| GOLD", gold[:1], "| ANSWER", j["answer"][:200], "| MODEL", j["model_text"][:160],
                  "|", j["reason"])
    n = len(qs)
    print(f"{name:11s} n={n} answered with gold {hit/n:.2f}, gold quoted {quoted/n:.2f}, model alone {model_hit/n:.2f}, refused {refused/n:.2f}, "
          f"fell back to quoting {fell_back/n:.2f}, words {words/max(1,n-refused):.0f}")
