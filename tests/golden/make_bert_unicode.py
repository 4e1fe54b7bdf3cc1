"""Writes the range table of src/model/tokenizer_bert_unicode.c: the code points whose present category (control, format,
punctuation, nonspacing mark) the reference implementation of BERT's tokenizer does not know. Its tables stopped at
Unicode 8; ours are Unicode 15. The reference is asked about every code point.

usage: make_bert_unicode.py < categories   where a line of categories is "<code point in hex> <general category>",
one for every scalar value, from the tables that hearth is built with."""
import sys

from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

clean = BertNormalizer(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False)
strip = BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
words = BertPreTokenizer()


def unknown(c, category):
    s = f"a{chr(c)}b"
    if category in ("Cc", "Cf", "Co") and c not in (9, 10, 13):
        return clean.normalize_str(s) != "ab"
    if category.startswith("P"):
        return len(words.pre_tokenize_str(s)) != 3
    return category == "Mn" and strip.normalize_str(s) != "ab"


ranges = []
for line in sys.stdin:
    code, category = line.split()
    c = int(code, 16)
    if not unknown(c, category):
        continue
    if ranges and ranges[-1][1] == c - 1:
        ranges[-1][1] = c
    else:
        ranges.append([c, c])
print("\n".join(f"    {{0x{a:X}, 0x{b:X}}}," for a, b in ranges))
