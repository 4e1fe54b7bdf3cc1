"""Writes data/stems.txt: words of given texts and their Porter stems by the snowballstemmer package
(its algorithm "porter", an implementation that shares no code with ours).

usage: make_stems.py FILE... > data/stems.txt
"""
import random
import re
import sys

import snowballstemmer

words = set()
for name in sys.argv[1:]:
    with open(name, encoding="utf-8", errors="replace") as f:
        words.update(re.findall(r"[a-z]{3,}", f.read().lower()))
stem = snowballstemmer.stemmer("porter").stemWord
random.seed(1)
for word in sorted(random.sample(sorted(words), min(6000, len(words)))):
    print(word, stem(word))
