#!/usr/bin/env python3
"""Writes tests/golden/data/minilm.txt: 50 texts and their embeddings by sentence-transformers
(all-MiniLM-L6-v2, float32, truncated at 256 tokens, normalised), 6 digits."""
import pathlib
import random

from sentence_transformers import SentenceTransformer

HERE = pathlib.Path(__file__).parent
WORDS = """database index query row table transaction vacuum planner cost memory disk page buffer lock thread
process network packet server client token model vector cosine search engine document chunk answer question
river mountain bread coffee winter summer morning letter window garden music painting history science""".split()
TEXTS = [
    "A man is eating food.", "A man is eating a piece of bread.", "The girl is carrying a baby.",
    "A woman is playing violin.", "Two men pushed carts through the woods.", "A monkey is playing drums.",
    "How do I reset my password?", "To change a forgotten password, open the account page.",
    "CREATE INDEX CONCURRENTLY idx ON t (a, b DESC) WHERE a > 10;",
    "VACUUM reclaims storage occupied by dead tuples.", "SELECT count(*) FROM pg_stat_activity;",
    "def add(a, b):\n    return a + b", "https://www.example.org/path?query=1#top", "E = mc^2",
    "Z\u00fcrich is the largest city in Switzerland.", "\u4eca\u5929\u5929\u6c14\u5f88\u597d\u3002",
    "Les \u0153uvres compl\u00e8tes de Molière", "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!",
    "ALL CAPITALS AND NUMBERS 1234567890", "   spaces   everywhere   ", "one", "!?...", "caf\u00e9 vs cafe\u0301",
    "\U0001f600 emoji \U0001f680 in text", "a" * 150,
]


def texts():
    r = random.Random(7)
    out = list(TEXTS)
    for n in (2, 3, 5, 8, 13, 17, 20, 25, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120, 130, 150, 170, 200, 230, 300, 400):
        out.append(" ".join(r.choice(WORDS) for _ in range(n)))  # the last two are longer than the limit
    return out


model = SentenceTransformer(str(HERE.parent.parent / "models" / "all-MiniLM-L6-v2"), device="cpu")
assert model.max_seq_length == 256
lines = []
for t in texts():
    v = model.encode([t], normalize_embeddings=True)[0]
    n = len(model.tokenizer(t, truncation=True, max_length=256)["input_ids"])
    escaped = t.replace("\\", "\\\\").replace("\n", "\\n")
    lines += [f"text {escaped}", f"tokens {n}", "row " + " ".join(f"{x:.6f}" for x in v)]
(HERE / "data" / "minilm.txt").write_text("\n".join(lines) + "\n")
