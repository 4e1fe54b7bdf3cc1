#!/usr/bin/env python3
"""Makes tests/golden/data/tiny/xlmr-{rerank,cls,mean}/ and roberta-rerank/: RoBERTa's relatives of BERT with random weights,
computed by transformers and sentence-transformers. xlmr-rerank has the same model as GGUF beside it, in the layout of
llama.cpp's converter (positions without the two rows that padding uses, classifier.dense as cls, out_proj as cls.output,
a "t5" tokenizer), and the SentencePiece model that its tokenizer.json was made from. reference.json is as make_rerank.py
and make_tiny_models.py have it; "cut" tells what of a pair was cut: 1 the query, 2 the document, 3 both."""
import json
import shutil
import sys

import gguf
import numpy
import sentencepiece
import torch
import transformers
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import make_unigram
from make_rerank import BLOCK, LIMIT, PAIRS
from make_tiny_models import OUT, TEXTS, gguf_begin, gguf_end, number, randomise, save, write_reference

OFFSET = 2  # positions begin behind the padding's
MULTI = TEXTS + ["ｆｕｌｌ　ｗｉｄｔｈ ﬁne", "два  слова ", "e\u0301 <mask>", ""]


def spm():
    make_unigram.LINES = [line for line in make_unigram.LINES if line.isascii()] + TEXTS + ["два слова и ещё слово"] * 3
    proto = proto_of(make_unigram.train(420, rules=make_unigram.nfkc_rules(0x250), character_coverage=0.9999, hard_vocab_limit=False))
    proto.normalizer_spec.ClearField("normalization_rule_tsv")  # a temporary file's name: a run should give the same bytes
    return proto.SerializeToString()


def proto_of(model):
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model)
    return proto


def xlmr_tokenizer(model):
    """What transformers' converter makes of a SentencePiece model of XLM-R."""
    proto = proto_of(model)
    vocab = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)] + [(p.piece, p.score) for p in proto.pieces[3:]] + [("<mask>", 0.0)]
    tk = Tokenizer(models.Unigram(vocab, 3, False))
    tk.normalizer = normalizers.Sequence([normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap), normalizers.Strip(left=False, right=True),
                                          normalizers.Replace(Regex(" {2,}"), "▁")])
    tk.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tk.decoder = decoders.Metaspace(prepend_scheme="always")
    make_unigram.template(tk)
    tk.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True)])
    return fast(tk, LIMIT), len(vocab)


def roberta_tokenizer():
    tk = Tokenizer(models.BPE(unk_token="<unk>"))
    tk.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tk.decoder = decoders.ByteLevel()
    tk.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=290, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
                                                      initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False))
    tk.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
    return fast(tk, LIMIT), tk.get_vocab_size()


def fast(tk, limit):
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tk, bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>", pad_token="<pad>",
                                                unk_token="<unk>", mask_token="<mask>", model_max_length=limit)


def gguf_name(name):
    stem, _, end = name.removeprefix("roberta.").rpartition(".")
    if stem.startswith("encoder.layer."):
        layer, _, rest = stem.removeprefix("encoder.layer.").partition(".")
        return f"blk.{layer}.{BLOCK[rest]}.{end}"
    whole = {"embeddings.word_embeddings": "token_embd", "embeddings.token_type_embeddings": "token_types", "embeddings.position_embeddings": "position_embd",
             "embeddings.LayerNorm": "token_embd_norm", "classifier.dense": "cls", "classifier.out_proj": "cls.output"}
    return f"{whole[stem]}.{end}"


def write_gguf(path, model, config, spm_model):
    proto = proto_of(spm_model)
    w = gguf_begin(path, "bert", config, config.max_position_embeddings - OFFSET)
    w.add_layer_norm_eps(config.layer_norm_eps)
    w.add_causal_attention(False)
    w.add_pooling_type(gguf.PoolingType.RANK)
    pieces = proto.pieces[3:]
    w.add_tokenizer_model("t5")
    w.add_tokenizer_pre("default")
    w.add_token_list(["<s>", "<pad>", "</s>", "<unk>"] + [p.piece for p in pieces] + ["<mask>"])
    w.add_token_scores([0.0] * 4 + [p.score for p in pieces] + [0.0])
    w.add_token_types([3, 3, 3, 2] + [p.type for p in pieces] + [3])
    w.add_add_space_prefix(proto.normalizer_spec.add_dummy_prefix)
    w.add_remove_extra_whitespaces(proto.normalizer_spec.remove_extra_whitespaces)
    w.add_precompiled_charsmap(proto.normalizer_spec.precompiled_charsmap)
    w.add_token_type_count(1)
    for key, i in (("bos", 0), ("eos", 2), ("unknown", 3), ("seperator", 2), ("padding", 1), ("cls", 0), ("mask", len(pieces) + 4)):
        w.add_uint32(f"tokenizer.ggml.{key}_token_id", i)
    w.add_add_bos_token(True)
    w.add_add_eos_token(True)
    for name, p in model.named_parameters():
        matrix = p.dim() == 2 and "position" not in name and "token_type" not in name
        values = p.detach().numpy()[OFFSET if "position" in name else 0:]
        w.add_tensor(gguf_name(name), values.astype(numpy.float16 if matrix else numpy.float32))
    gguf_end(w)


def check_llamacpp(path, spm_model):
    """llama.cpp reads the file and makes the same ids of it as the library that it came from."""
    import llama_cpp
    llama = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    sp = sentencepiece.SentencePieceProcessor(model_proto=spm_model)
    for text in MULTI[:5] + [q for q, _ in PAIRS]:
        want = [i + 1 if i else 3 for i in sp.encode(text)]
        got = llama.tokenize(text.encode(), add_bos=False, special=False)
        assert got == want, (text, got, want)


def fresh(name):
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def rerank(name, config, cls, tokenizer, seed):
    folder = fresh(name)
    model = randomise(cls(config), seed, torch.float16)
    save(model, folder, torch.float16)
    (folder / "model.safetensors").chmod(0o644)
    tokenizer.save_pretrained(folder)
    cases = []
    for query, document in PAIRS + [(MULTI[3], MULTI[4])]:
        enc = tokenizer([query], [document], truncation=True, max_length=LIMIT, return_tensors="pt")
        enc.pop("token_type_ids", None)
        with torch.no_grad():
            logit = model(**enc).logits[0, 0]
        parts = enc.sequence_ids(0)
        cut = [parts.count(k) < len(tokenizer(text, add_special_tokens=False)["input_ids"]) for k, text in enumerate((query, document))]
        cases.append({"query": query, "document": document, "ids": enc["input_ids"][0].tolist(), "cut": cut[0] + 2 * cut[1], "logit": number(logit)})
    write_reference(folder, {"model": name, "cases": cases})
    print(name, json.dumps([[c["logit"], len(c["ids"])] for c in cases]))
    return folder, model


def embed(name, config, tokenizer, seed, pooling, normalize):
    from sentence_transformers import SentenceTransformer
    folder = fresh(name)
    model = randomise(transformers.XLMRobertaModel(config), seed, torch.float16)
    save(model, folder, torch.float16)
    (folder / "model.safetensors").chmod(0o644)
    tokenizer.save_pretrained(folder)
    parts = [("", "Transformer"), ("1_Pooling", "Pooling")] + [("2_Normalize", "Normalize")] * normalize
    modules = [{"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"} for i, (path, kind) in enumerate(parts)]
    (folder / "modules.json").write_text(json.dumps(modules, indent=2) + "\n")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({
        "word_embedding_dimension": config.hidden_size, "pooling_mode_cls_token": pooling == "cls", "pooling_mode_mean_tokens": pooling == "mean",
        "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False}, indent=2) + "\n")
    st = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    assert next(st.parameters()).dtype == torch.float32
    cases = []
    for text in MULTI + ["dog", " ".join(TEXTS * 3)]:
        ids = tokenizer(text, truncation=True, max_length=LIMIT)["input_ids"]
        v = st.encode([text], convert_to_tensor=True)[0].tolist()
        cases.append({"text": text, "ids": ids, "embedding": [number(x) for x in v]})
    write_reference(folder, {"model": name, "pooling": pooling, "normalize": normalize, "cases": cases})


def main():
    torch.set_num_threads(1)
    spm_model = spm()
    tokenizer, n_vocab = xlmr_tokenizer(spm_model)
    sizes = dict(num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=LIMIT + OFFSET, type_vocab_size=1, layer_norm_eps=1e-5,
                 bos_token_id=0, pad_token_id=1, eos_token_id=2, num_labels=1)
    config = transformers.XLMRobertaConfig(vocab_size=n_vocab, hidden_size=64, intermediate_size=128, **sizes)
    folder, model = rerank("xlmr-rerank", config, transformers.XLMRobertaForSequenceClassification, tokenizer, 21)
    (folder / "sentencepiece.bpe.model").write_bytes(spm_model)
    write_gguf(folder / "xlmr-rerank.gguf", model, config, spm_model)
    check_llamacpp(folder / "xlmr-rerank.gguf", spm_model)
    config = transformers.XLMRobertaConfig(vocab_size=n_vocab, hidden_size=32, intermediate_size=64, **sizes)
    embed("xlmr-cls", config, tokenizer, 22, "cls", True)
    embed("xlmr-mean", config, tokenizer, 23, "mean", False)
    tokenizer, n_vocab = roberta_tokenizer()
    config = transformers.RobertaConfig(vocab_size=n_vocab, hidden_size=32, intermediate_size=64, **sizes)
    rerank("roberta-rerank", config, transformers.RobertaForSequenceClassification, tokenizer, 24)


if __name__ == "__main__":
    sys.exit(main())
