"""Golden ids of tests/golden/test_vocab.c, from implementations other than hearth's:
  data/vocab_smollm2.txt   the demo model's GGUF through llama_cpp (vocabulary only), checked here against a `tokenizers`
                           BPE built from the same vocabulary with SmolLM's documented pre-tokenizer
  data/vocab_minilm.txt    all-MiniLM-L6-v2/tokenizer.json through `tokenizers`
  data/tokenizer_*.json    small tokenizers of other configurations, trained here, and vocab_*.txt from them
A line is: text, flags (1 add special, 2 parse special), ids, decoded text; texts with \\xNN for all but printable ASCII.

usage: make_vocab.py [models folder]"""
import os
import random
import sys
import unicodedata

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
                        trainers)

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, "data")
MODELS = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "..", "..", "models")

CORPUS = """The quick brown fox jumps over the lazy dog. It's what they've said: we'll see, don't we? I'M SURE HE'D GO.
Tokenization of 1234567 numbers, 3.14159 and 2024-11-21, e-mail me@example.org or https://example.org/a?b=c&d=1#e.
def main(argc, argv):\n    if argc > 1:\n\t\treturn {"key": [1, 2, 3], 'x': None}\n\nfor (int i = 0; i < n; i++) { a[i] += b[i]; }
Der Führer der Straßenbahn fährt über die Brücke. Où est le café naïve? El niño comió piñata mañana. Ångström øl.
Это предложение на русском языке. Нещо на Български. Η γρήγορη αλεπού. Türkçe İstanbul ığdır.
日本語の文章です。東京は大きい。我想在apple工作1314151天～ 中文字符和標點。한국어 문장입니다.
العربية لغة جميلة. עברית שפה יפה. ภาษาไทยสวยงาม हिन्दी में लिखा है कान्हा। កាន់តែពិសេស
🚀 (normal) 😶‍🌫️ (multiple emojis concatenated) ✅ 🦙🦙 👩‍👩‍👧‍👦 🇩🇪🇫🇷 👍🏽
""" + " ".join(f"word{i % 37} number {i * i} test{i % 5}ing re{i % 7}do un{i % 11}like" for i in range(400))

TEXTS = [
    "", " ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", " \n \n", "a", " a", "a ", "Hello world", " Hello world",
    "Hello, y'all! How are you 😁 ?", "I've been 'told he's there, 'RE you sure? 'M not sure I'll make it, We'Ve a'lL",
    "it's IT'S it'S 'ſ o'ſ don\u2019t", "3 33 333 3333 33333 3.14 1,000,000 ½ Ⅷ ٣٤٥ ²³ १२३", "w048 7tuijk dsdfhu", "x1y22z333",
    "\n\n\n\n   \n\t \t\ttabs\tand   spaces    here     \n", "trailing spaces   ", "   leading", "a\u00a0b\u2003c\u3000d\u0085e\u2028f\u180eg",
    "def f(x):\n    return x**2  # comment\n\n\tif (a<=b&&c!=d){e[0]+=1;}//!?", "https://example.org/~user/?q=a+b&c=%20#frag",
    "!!!!!! ?????? ...... ------ ====== ______ `````` \"\"\"\"", "()[]{}<>|\\/@#$%^&*~", "$100 + €50 = £? ±∞≠≈ ©®™ ¿¡«»",
    "Führer Straße ÀÉÎÕÜ àéîõü ÿŒœ ŁłØø Ångström naïve café", "e\u0301 o\u0308 n\u0303 A\u030a a\u0300\u0301\u0302\u0303\u0304",
    "нещо на Български ПРИВЕТ мир Ελληνικά ΣΊΣΥΦΟΣ ς", "İstanbul ISTANBUL ıI ǅ ß ẞ ﬁ ﬃ Ａｂｃ１２", "日本語の文章です。「東京」、大阪・名古屋が か\u3099", "我想在apple工作1314151天～",
    "한국어 문장입니다 \u1112\u1161\u11ab", "العربية لغة عَرَبِيَّة", "עברית שָׁלוֹם", "ภาษาไทยสวยงามที่สุด", "हिन्दी क्षत्रिय कान्हा।", "កាន់តែពិសេសអាចខលចេញ",
    "🚀 (normal) 😶‍🌫️ (multiple emojis concatenated) ✅ 🦙🦙", "👩‍👩‍👧‍👦👍🏽🇩🇪🇫🇷🏴󠁧󠁢󠁥󠁮󠁧󠁿", "\u200b\u200c\u200d\u2060\ufeff\u00ad|\u202e",
    "\x00", "a\x00b\x00\x00c", "\x01\x02\x1f\x7f\x80\x9f", "\ufffd \uffff \U0010ffff \ue000", "𝒳𝓎 𠀀𪜶 𐍈 \U0001f9ff\U000e0001",
    "a" * 300, "ab" * 200, "supercalifragilisticexpialidocious" * 5, "=" * 200, " " * 200, "\n" * 90, "é" * 120, "日" * 150, "1" * 130,
    "a" * 100, "a" * 101, "ü" * 100 + " " + "ü" * 101, "x" * 99 + "🚀",
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "<|im_start|", "<|im_start |> <|endoftext|>x<|endoftext|>", "a<|im_end|>b <|im_end|> c",
    "[CLS] text [SEP] [MASK] [MASK]. [UNK] [PAD] [mask] [ MASK ]", "<s> </s> <unk> <0x0A> <pad>", "<repo_name><file_sep><jupyter_code>", "▁ ▁▁a ▁b_c",
    "Ġ Ċ ĠHello", "##ing ## ##", "don't can't won't do not n't 's 've 're", "A.B.C. U.S.A. e.g. i.e., etc...", "snake_case camelCase PascalCase kebab-case SCREAMING_CASE",
]


def random_texts(count):
    rng = random.Random(20261121)
    fixed = [" ", "  ", "\t", "\n", "\r\n", "\n\n", "'s", "'RE", "'ll", "12", "3", "the", "hello", "World", "<|im_end|>", "[MASK]", "<s>", "日本", "中文", "한국",
             "ไทย", "हिन्दी", "عر", "👩‍👧", "é", "e\u0301", "ſ", "\u3000", "\u0085", "…", "。", "\u00ad", "_", "-", "..."]
    for _ in range(count):
        out = []
        for _ in range(rng.randint(1, 30)):
            r = rng.random()
            if r < 0.4:
                out.append(chr(rng.randint(32, 126)))
            elif r < 0.75:
                out.append(rng.choice(fixed))
            else:
                c = rng.choice([rng.randint(0xA0, 0x2FFF), rng.randint(0x3000, 0x9FFF), rng.randint(0xA000, 0x1FFFF)])
                # not what later versions of Unicode assigned: there the references differ among themselves
                out.append("?" if unicodedata.category(chr(c)) in ("Cn", "Cs") else chr(c))
        yield "".join(out)


ALL = TEXTS + list(random_texts(80))
INVALID = [b"\xff", b"a\x80b", b"\xc3", b"\xe6\x97", b"ok \xf0\x9f\x9a", b"\xed\xa0\x80 x", b"\xc0\xaf\xfe\xff caf\xc3\xa9\xc3"]


def escape(raw):
    if isinstance(raw, str):
        raw = raw.encode()
    return "".join(chr(b) if 32 < b < 127 and b != 92 else f"\\x{b:02x}" for b in raw)


def write(name, rows):
    with open(os.path.join(DATA, f"vocab_{name}.txt"), "w") as f:
        for text, flags, ids, decoded in rows:
            f.write(f"{escape(text)}\t{flags}\t{' '.join(map(str, ids))}\t{escape(decoded)}\n")


def rows_of(tk, texts):
    for t in texts:
        for special in (True, False):
            ids = tk.encode(t, add_special_tokens=special).ids
            yield t, 2 + special, ids, tk.decode(ids, skip_special_tokens=True)


def save(name, tk):
    tk.save(os.path.join(DATA, f"tokenizer_{name}.json"), pretty=False)
    write(name, rows_of(tk, ALL))


LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace("{1,3}", "")


def byte_level(pattern, size, **kw):
    tk = Tokenizer(models.BPE(ignore_merges=kw.get("ignore_merges", False)))
    tk.normalizer = kw.get("normalizer")
    steps = kw.get("steps") or [pre_tokenizers.Split(Regex(pattern), "isolated"),
                                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    tk.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tk.decoder = decoders.ByteLevel()
    tk.train_from_iterator([CORPUS], trainers.BpeTrainer(
        vocab_size=size, special_tokens=kw.get("special", []), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return tk


def train():
    tk = byte_level(LLAMA3, 700, ignore_merges=True, special=["<|begin_of_text|>", "<|im_start|>", "<|im_end|>"])
    tk.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), processors.TemplateProcessing(
        single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|> $B", special_tokens=[("<|begin_of_text|>", 0)])])
    save("llama3", tk)

    tk = byte_level(QWEN2, 600, normalizer=normalizers.NFC(), special=["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tk.add_tokens([AddedToken("    ", normalized=False), AddedToken("snake", single_word=True, normalized=True), AddedToken("が", normalized=True)])
    tk.add_special_tokens([AddedToken("[MASK]", lstrip=True, rstrip=True)])
    save("qwen2", tk)

    tk = byte_level(None, 600, steps=[pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)],
                    special=["<|endoftext|>"])
    save("smollm", tk)

    tk = byte_level(None, 600, steps=[pre_tokenizers.ByteLevel(add_prefix_space=True)], special=["<s>", "<pad>", "</s>", "<unk>"])
    tk.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=True)
    save("roberta", tk)

    tk = byte_level(None, 600, steps=[
        pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.Split("_", "merged_with_next"), pre_tokenizers.Split(Regex(r"\d{3}"), "merged_with_previous"),
        pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    save("steps", tk)

    tk = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tk.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tk.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tk.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")  # for training only
    tk.train_from_iterator([CORPUS[:1500]], trainers.BpeTrainer(
        vocab_size=700, limit_alphabet=150, special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)], show_progress=False))
    tk.pre_tokenizer = None
    tk.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    save("byte_fallback", as_bytes(tk))

    tk = Tokenizer(models.BPE(fuse_unk=False, unk_token="<unk>"))
    tk.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tk.decoder = decoders.Metaspace(prepend_scheme="first")
    tk.train_from_iterator([CORPUS], trainers.BpeTrainer(vocab_size=500, limit_alphabet=120, special_tokens=["<unk>", "<s>"], show_progress=False))
    save("metaspace", tk)

    for name, lower, prefix in (("uncased", True, "##"), ("cased", False, "@@")):
        tk = Tokenizer(models.WordPiece(unk_token="[UNK]", continuing_subword_prefix=prefix, max_input_chars_per_word=100))
        tk.normalizer = normalizers.BertNormalizer(lowercase=lower, strip_accents=None, handle_chinese_chars=lower, clean_text=lower)
        tk.pre_tokenizer = pre_tokenizers.BertPreTokenizer() if lower else pre_tokenizers.Whitespace()
        tk.decoder = decoders.WordPiece(prefix=prefix, cleanup=lower)
        tk.train_from_iterator([CORPUS], trainers.WordPieceTrainer(
            vocab_size=700, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], continuing_subword_prefix=prefix, show_progress=False))
        tk.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        save(name, tk)


def as_bytes(tk):
    """Byte pieces are ordinary vocabulary in real files, not added tokens."""
    import json
    d = json.loads(tk.to_str())
    d["added_tokens"] = [t for t in d["added_tokens"] if not t["content"].startswith("<0x")]
    return Tokenizer.from_str(json.dumps(d))


def sentencepiece():
    import io
    import sentencepiece as spm
    for name, kw in (("spm", dict(byte_fallback=True, remove_extra_whitespaces=False, user_defined_symbols=["<sep>", "::"])),
                     ("spm_squeeze", dict(byte_fallback=False, remove_extra_whitespaces=True, add_dummy_prefix=True))):
        out = io.BytesIO()
        spm.SentencePieceTrainer.train(sentence_iterator=iter(CORPUS.split("\n")), model_writer=out, model_type="bpe", vocab_size=700 if kw["byte_fallback"] else 500,
                                       normalization_rule_name="identity", character_coverage=0.98, minloglevel=2, **kw)
        with open(os.path.join(DATA, f"tokenizer_{name}.model"), "wb") as f:
            f.write(out.getvalue())
        sp = spm.SentencePieceProcessor(model_proto=out.getvalue())
        # the library's interface ends texts at NUL and knows no control pieces in them
        texts = [t for t in ALL + ["a<sep>b <sep> c::d", "::x", "  two  spaces  "] if "\0" not in t]
        write(name, ((t, 0, ids := sp.encode(t), sp.decode([i for i in ids if i != sp.unk_id()])) for t in texts))


def minilm():
    tk = Tokenizer.from_file(os.path.join(MODELS, "all-MiniLM-L6-v2", "tokenizer.json"))
    tk.no_truncation()
    tk.no_padding()
    write("minilm", rows_of(tk, ALL))


def smollm2():
    import gguf
    import llama_cpp
    path = os.path.join(MODELS, "SmolLM2-135M-Instruct.Q4_1.gguf")
    reader = gguf.GGUFReader(path)
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    types = reader.fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in reader.fields["tokenizer.ggml.merges"].contents()]
    tk = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    tk.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tk.decoder = decoders.ByteLevel()
    tk.add_special_tokens([AddedToken(t, normalized=False) for t, k in zip(tokens, types) if k == 3])
    llama = llama_cpp.Llama(path, vocab_only=True, verbose=False)
    rows = []
    for t in ALL:
        ids = llama.tokenize(t.encode(), add_bos=False, special=True)
        same = tk.encode(t).ids
        assert ids == same, (t, ids, same)
        rows.append((t, 2, ids, tk.decode(ids, skip_special_tokens=True)))
        if "<" in t:
            rows.append((t, 0, llama.tokenize(t.encode(), add_bos=False, special=False), t))
    write("smollm2", rows)


if __name__ == "__main__":
    train()
    sentencepiece()
    minilm()
    smollm2()
