#!/usr/bin/env python3
"""Unigram tokenizers, trained here, and golden ids of them for tests/golden/test_vocab.c:
  data/tokenizer_unigram_spm.model     the sentencepiece library, nmt_nfkc (its whole character map), user-defined pieces
  data/tokenizer_unigram_spm_bytes.model  ... without a map and without squeezing of blanks, bytes for unknown characters
  data/tokenizer_unigram.json         laid out as XLM-R's and bge-m3's files are (Precompiled, Strip, Replace, Metaspace),
                                      its map a part of nmt_nfkc, trained with the tokenizers library
  data/tokenizer_unigram_words.json   ... as multilingual-e5's (WhitespaceSplit, Metaspace), Nmt and NFKC, byte fallback
The lines of vocab_*.txt are those of make_vocab.py."""
import io
import json
import os
import pathlib
import tempfile
import unicodedata

import sentencepiece as spm
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from make_vocab import ALL, CORPUS, DATA, rows_of, write

TEXT = CORPUS + "\n" + pathlib.Path(DATA, "ppl.txt").read_text()
LINES = [line for line in TEXT.split("\n") if line.strip()]
# What normalisation makes of these is where the implementations differ first.
HARD = [
    "ﬁne ﬃ ① ㎏ ｶﾞｷﾞ ﾊﾟ ㈱ ½ Ⅷ ²³ … ﷺ ℌ ｈｅｌｌｏ　ｗｏｒｌｄ", "A\u0300 e\u0301\u0301 \u0958\u0301 \u0344 \u1e9b\u0323 a\u0328\u0301", "a\u0085b\u00adc\u200bd\ufeffe",
    "x\u0301 \u0301 \u0301x", "\u1112\u1161\u11ab \uac00\u11a8 각", "▁ ▁▁a ▁b_c▁", " ▁ x ▁", "a ▁", "\u3000 全角　空白 \u3000", "\u2581\u2581", "👩\u200d👩 ❤\ufe0f 1\ufe0f\u20e3",
    "ไทย ำ ำำ", "ا\u0644\u0651\u064e\u0647 ﻻ ﷲ ـ", "word\u0300\u0301\u0302\u0303", "𝔘𝔫𝔦 𝟘𝟙 \U0001d160", "\r\n \r \n\r \u2028\u2029", "\x0b\x0c\x1c\x85 \x7f", "İi̇ ǆ ŉ",
    "qqqq zzzz ŋŋŋ ʤʤ ☃☃☃☃ 龘龘龘 龘a龘", "the the the the", "tokenization" * 20, "ꙮ" * 40, "a" * 95, "a" * 96, "a" * 97, "Ω Å K ℃", "٠١٢ ۰۱۲ ०१२ 〇一二",
    "<mask>", "a<mask>b", "a <mask> b", "<mask><mask>", "fox<mask>", "<s>x</s>", "a <pad>b <unk> c",
]
TEXTS = ALL + HARD


def nfkc_rules(most):
    """Rules of nmt_nfkc for single characters below `most` and their compositions, as a TSV for the trainer."""
    rules = {}
    for c in [*range(1, 9), 11, *range(14, 32), 127, 143, 159]:
        rules[(c,)] = ""
    for c in [9, 10, 12, 13, 0x1680, *range(0x200B, 0x2010), 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD]:
        rules[(c,)] = " "
    for c in [*range(0xA0, most), *range(0xFF00, 0xFFEF), *range(0xFB00, 0xFB07), *range(0xAC00, 0xAC20), *range(0x3130, 0x3380), 0x1D160, *range(0x1D518, 0x1D520)]:
        if unicodedata.category(chr(c)) in ("Cn", "Cs") or (c,) in rules:
            continue
        to, from_ = unicodedata.normalize("NFKC", chr(c)), unicodedata.normalize("NFD", chr(c))
        if to != chr(c):
            rules[(c,)] = to
        if from_ != chr(c) and from_ != to:
            rules[tuple(map(ord, from_))] = to
    return "".join(" ".join(f"{c:X}" for c in k) + "\t" + " ".join(f"{ord(c):X}" for c in v) + "\n" for k, v in sorted(rules.items()))


def train(size, **kw):
    out = io.BytesIO()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as f:
        if "rules" in kw:
            f.write(kw.pop("rules"))
            f.flush()
            kw["normalization_rule_tsv"] = f.name
        spm.SentencePieceTrainer.train(sentence_iterator=iter(LINES), model_writer=out, model_type="unigram", vocab_size=size,
                                       num_threads=1, minloglevel=2, **kw)
    return out.getvalue()


def charsmap(model):
    from sentencepiece import sentencepiece_model_pb2 as pb
    m = pb.ModelProto()
    m.ParseFromString(model)
    return m.normalizer_spec.precompiled_charsmap


def sentencepiece(name, model):
    (pathlib.Path(DATA) / f"tokenizer_{name}.model").write_bytes(model)
    sp = spm.SentencePieceProcessor(model_proto=model)
    texts = [t for t in TEXTS + ["a<sep>b <sep> c::d ", "::x", "  two  spaces  ", " <sep>", ": : :: :::", "ａ<sep>ｂ"] if "\0" not in t]
    # an unknown piece is decoded as " \u2047 " there, and as nothing by hearth
    write(name, ((t, 0, ids := sp.encode(t), sp.decode([i for i in ids if i != sp.unk_id()])) for t in texts))


def template(tk):
    tk.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])


def tokenizers(name, tk):
    tk.save(os.path.join(DATA, f"tokenizer_{name}.json"), pretty=False)
    write(name, rows_of(tk, TEXTS))


def xlmr(charsmap):
    tk = Tokenizer(models.Unigram())
    tk.normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap), normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "▁")])
    tk.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tk.decoder = decoders.Metaspace(prepend_scheme="always")
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    tk.train_from_iterator(LINES, trainers.UnigramTrainer(vocab_size=900, special_tokens=special, unk_token="<unk>", show_progress=False))
    tk.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    template(tk)
    return tk


def words():
    tk = Tokenizer(models.Unigram())
    tk.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tk.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")])
    tk.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="always")])
    tk.train_from_iterator([CORPUS[:3000]], trainers.UnigramTrainer(
        vocab_size=700, special_tokens=["<s>", "<pad>", "</s>", "<unk>"] + [f"<0x{b:02X}>" for b in range(256)], unk_token="<unk>", show_progress=False))
    d = json.loads(tk.to_str())
    d["model"]["byte_fallback"] = True
    d["added_tokens"] = [t for t in d["added_tokens"] if not t["content"].startswith("<0x")]
    tk = Tokenizer.from_str(json.dumps(d))
    tk.add_tokens([AddedToken("fox", normalized=True), AddedToken("snake", single_word=True)])
    template(tk)
    return tk


if __name__ == "__main__":
    full = train(1500, normalization_rule_name="nmt_nfkc", character_coverage=0.995, user_defined_symbols=["<sep>", "::"])
    sentencepiece("unigram_spm", full)
    sentencepiece("unigram_spm_bytes", train(1000, normalization_rule_name="identity", remove_extra_whitespaces=False, byte_fallback=True, character_coverage=0.98,
                                         user_defined_symbols=["<sep>", "::"]))
    tokenizers("unigram", xlmr(charsmap(train(700, rules=nfkc_rules(0x530), character_coverage=0.98))))
    tokenizers("unigram_words", words())
