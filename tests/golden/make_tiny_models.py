#!/usr/bin/env python3
"""Makes tests/golden/data/tiny/<name>/: Hugging Face directories with random weights (fixed seed),
small enough for the repository, each with a tokenizer and reference.json, what transformers (and
sentence-transformers for encoders) computes from the stored weights in float32.

reference.json of a decoder: {"cases": [{"ids": [..], "logits": [..]}]}, logits of the last position.
Of an encoder: {"normalize": bool, "pooling": "mean", "cases": [{"text", "ids", "embedding": [..]}]}.
Every matrix, bias and norm is drawn at random: initialisers leave biases 0 and norms 1, which would
hide a forgotten one.

Usage: make_tiny_models.py [name ...]
"""
import json
import pathlib
import shutil
import sys

import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

OUT = pathlib.Path(__file__).parent / "data" / "tiny"
TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "A database returns the rows that match; the planner chooses how.",
    "numbers 1234 and words, \u00e4 \u4e2d \U0001f600",
]
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
CHATML = ("{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] "
          "+ '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}"
          "{{ '<|im_start|>assistant\n' }}{% endif %}")


def bpe(pattern, nfc, bos):
    t = Tokenizer(models.BPE())
    if nfc:
        t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(TEXTS, trainers.BpeTrainer(
        vocab_size=284, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False))
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
    t.add_special_tokens(special)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=t, eos_token="<|im_end|>", pad_token="<|pad|>",
        bos_token="<|endoftext|>" if bos else None)
    fast.chat_template = CHATML
    return fast


def wordpiece(folder):
    words = sorted({w for text in TEXTS for w in text.lower().replace(".", "").replace(";", "").split()})
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)] + list("0123456789.,;:!?'-()")
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + letters + ["##" + c for c in letters]
    vocab += [w for w in words if w not in vocab]
    vocab += ["##" + s for s in ("ing", "ed", "er", "s", "tion") if "##" + s not in vocab]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(vocab) + "\n")
    t = transformers.BertTokenizerFast(vocab=str(folder / "vocab.txt"))
    assert t.convert_tokens_to_ids("[SEP]") == 3
    return t, len(vocab)


def randomise(model, seed, dtype):
    """Weights of about 1/sqrt(fan-in), norms around 1, biases around 0.2; rounded to dtype."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            r = torch.randn(p.shape, generator=g)
            if p.dim() == 2:
                r = r * (1.0 if "embed" in name else 1.4 / p.shape[1] ** 0.5)
            elif "norm" in name.lower() and name.endswith("weight"):
                r = 1 + 0.3 * r
            else:
                r = 0.2 * r
            p.copy_(r.to(dtype).float())
    return model.eval()


def save(model, folder, dtype, **how):
    import copy
    copy.deepcopy(model).to(dtype).save_pretrained(folder, **how)


def gguf_begin(path, arch, config, n_ctx):
    """A writer with what every architecture says of its shape; the file's name is the model's."""
    import gguf
    w = gguf.GGUFWriter(str(path), arch)
    w.add_name(path.stem)
    w.add_context_length(n_ctx)
    w.add_embedding_length(config.hidden_size)
    w.add_feed_forward_length(config.intermediate_size)
    w.add_block_count(config.num_hidden_layers)
    w.add_head_count(config.num_attention_heads)
    return w


def gguf_end(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def number(x):
    return float(f"{x:.8g}")


def write_reference(folder, data):
    (folder / "reference.json").write_text(json.dumps(data) + "\n")


def decoder(name, config, cls, tokenizer, seed, dtype, **how):
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    model = randomise(cls(config), seed, dtype)
    save(model, folder, dtype, **how)
    tokenizer.save_pretrained(folder)
    cases = []
    g = torch.Generator().manual_seed(seed)
    sequences = [tokenizer(t, add_special_tokens=False)["input_ids"] for t in TEXTS[:2]]
    sequences += [[5], torch.randint(0, 284, (48,), generator=g).tolist()]
    for ids in sequences:
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, -1]
        cases.append({"ids": ids, "logits": [number(v) for v in logits.tolist()]})
    write_reference(folder, {"model": name, "cases": cases})


def encoder(name, seed, dtype, pooling, normalize, max_seq_length):
    from sentence_transformers import SentenceTransformer
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    tokenizer, n_vocab = wordpiece(folder)
    config = transformers.BertConfig(
        vocab_size=n_vocab, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=64)
    model = randomise(transformers.BertModel(config, add_pooling_layer=False), seed, dtype)
    save(model, folder, dtype)
    tokenizer.save_pretrained(folder)
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
               {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]
    if normalize:
        modules.append({"idx": 2, "name": "2", "path": "2_Normalize",
                        "type": "sentence_transformers.models.Normalize"})
    (folder / "modules.json").write_text(json.dumps(modules, indent=2) + "\n")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({
        "word_embedding_dimension": 32, "pooling_mode_cls_token": pooling == "cls",
        "pooling_mode_mean_tokens": pooling == "mean", "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False}, indent=2) + "\n")
    (folder / "sentence_bert_config.json").write_text(json.dumps(
        {"max_seq_length": max_seq_length, "do_lower_case": False}, indent=2) + "\n")
    st = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    assert next(st.parameters()).dtype == torch.float32
    cases = []
    for text in TEXTS + ["dog", TEXTS[0] + " " + TEXTS[1]]:
        ids = tokenizer(text, truncation=True, max_length=max_seq_length)["input_ids"]
        v = st.encode([text], convert_to_tensor=True)[0].tolist()
        cases.append({"text": text, "ids": ids, "embedding": [number(x) for x in v]})
    write_reference(folder, {"model": name, "pooling": pooling, "normalize": normalize, "cases": cases})


def llama(**more):
    base = dict(vocab_size=288, num_hidden_layers=2, bos_token_id=284, eos_token_id=286, pad_token_id=287)
    return transformers.LlamaConfig(**{**base, **more})


def make_llama():
    config = llama(hidden_size=64, intermediate_size=32, num_attention_heads=4, num_key_value_heads=2,
                   max_position_embeddings=256, rms_norm_eps=1e-5, tie_word_embeddings=True,
                   rope_parameters={"rope_theta": 10000.0, "rope_type": "llama3", "factor": 8.0,
                                    "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                    "original_max_position_embeddings": 32})
    decoder("llama", config, transformers.LlamaForCausalLM, bpe(LLAMA3, False, True), 1, torch.bfloat16)


def make_llama_yarn():
    config = llama(hidden_size=32, intermediate_size=64, num_attention_heads=2, num_key_value_heads=1,
                   max_position_embeddings=64, tie_word_embeddings=False,
                   rope_parameters={"rope_theta": 500000.0, "rope_type": "yarn", "factor": 4.0,
                                    "beta_fast": 4.0, "beta_slow": 1.0, "attention_factor": 1.25,
                                    "original_max_position_embeddings": 16})
    decoder("llama-yarn-sharded", config, transformers.LlamaForCausalLM, bpe(LLAMA3, False, True), 2,
            torch.float16, max_shard_size="30KB")


def make_qwen2():
    config = transformers.Qwen2Config(
        vocab_size=288, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=128, tie_word_embeddings=False,
        rope_parameters={"rope_theta": 1000000.0, "rope_type": "default"}, eos_token_id=286)
    decoder("qwen2", config, transformers.Qwen2ForCausalLM, bpe(QWEN2, True, False), 3, torch.float16)


def make_qwen3():
    config = transformers.Qwen3Config(
        vocab_size=288, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=32, max_position_embeddings=128, tie_word_embeddings=True,
        rope_parameters={"rope_theta": 1000000.0, "rope_type": "default"}, eos_token_id=286)
    decoder("qwen3", config, transformers.Qwen3ForCausalLM, bpe(QWEN2, True, False), 4, torch.float16)


def make_bert_mean():
    encoder("bert-mean", 5, torch.float32, "mean", False, 64)


def make_bert_cls():
    encoder("bert-cls", 6, torch.float16, "cls", True, 24)


MAKERS = {"llama": make_llama, "llama-yarn-sharded": make_llama_yarn, "qwen2": make_qwen2,
          "qwen3": make_qwen3, "bert-mean": make_bert_mean, "bert-cls": make_bert_cls}

if __name__ == "__main__":
    torch.set_num_threads(1)
    for wanted in sys.argv[1:] or MAKERS:
        MAKERS[wanted]()
