"""Embedding peers on the same texts: onnxruntime (fp32, dynamic int8), sentence-transformers (torch, fp32 and bf16). Prints one JSON object.

The ONNX graph is exported once from the same safetensors into bench/out. Texts are sorted by length and batched, as sentence-transformers does it."""
import argparse
import contextlib
import json
import os
import sys
import time

import numpy as np

ap = argparse.ArgumentParser()
ap.add_argument("--engine", choices=["onnx", "onnx-int8", "torch", "torch-bf16"], required=True)
ap.add_argument("--model", required=True)
ap.add_argument("--texts", required=True, help="JSONL {text}")
ap.add_argument("--threads", type=int, default=2)
ap.add_argument("--batch", type=int, default=32)
ap.add_argument("--repeat", type=int, default=1)
ap.add_argument("--vectors", help="write the vectors here (.npy)")
a = ap.parse_args()
texts = [json.loads(line)["text"] for line in open(a.texts)]
out_dir = os.path.join(os.path.dirname(os.path.abspath(__file__)), "out")
os.makedirs(out_dir, exist_ok=True)


def export(path):
    import torch
    from transformers import AutoModel
    model = AutoModel.from_pretrained(a.model, attn_implementation="eager").eval()

    class Graph(torch.nn.Module):
        def forward(self, input_ids, attention_mask, token_type_ids):
            return model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state

    ids = torch.full((2, 8), 7, dtype=torch.long)  # no tensor may be given twice: the exporter would take both for one input
    names = ["input_ids", "attention_mask", "token_type_ids"]
    b, n = torch.export.Dim("b"), torch.export.Dim("n", min=2, max=512)
    shape = {0: b, 1: n}
    program = torch.onnx.export(Graph(), (ids, torch.ones_like(ids), torch.zeros_like(ids)), input_names=names, output_names=["last_hidden_state"],
                                dynamic_shapes=(shape, shape, shape), dynamo=True)
    program.save(path)


def onnx_session(int8):
    import onnxruntime as ort
    path = os.path.join(out_dir, "minilm-embed.onnx")
    if not os.path.exists(path):
        with contextlib.redirect_stdout(sys.stderr):  # the exporter talks; stdout is the result
            export(path)
    if int8:
        quantised = os.path.join(out_dir, "minilm-embed-int8.onnx")
        if not os.path.exists(quantised):
            from onnxruntime.quantization import QuantType, quantize_dynamic
            quantize_dynamic(path, quantised, weight_type=QuantType.QInt8, per_channel=True)
        path = quantised
    opt = ort.SessionOptions()
    opt.intra_op_num_threads = a.threads
    return ort.InferenceSession(path, opt, providers=["CPUExecutionProvider"])


if a.engine.startswith("torch"):
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from sentence_transformers import SentenceTransformer
    torch.set_num_threads(a.threads)
    model = SentenceTransformer(a.model, device="cpu")
    if a.engine == "torch-bf16":
        model = model.bfloat16()

    def embed(batch):
        return model.encode(batch, batch_size=a.batch, show_progress_bar=False, normalize_embeddings=True)
else:
    from tokenizers import Tokenizer
    session = onnx_session(a.engine == "onnx-int8")
    tok = Tokenizer.from_file(os.path.join(a.model, "tokenizer.json"))
    tok.enable_truncation(256)
    tok.enable_padding()

    def embed(batch):
        order = sorted(range(len(batch)), key=lambda i: -len(batch[i]))
        out = np.empty((len(batch), 384), np.float32)
        for i in range(0, len(order), a.batch):
            part = order[i:i + a.batch]
            enc = tok.encode_batch([batch[j] for j in part])
            ids = np.array([x.ids for x in enc], np.int64)
            mask = np.array([x.attention_mask for x in enc], np.int64)
            h = session.run(None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)})[0]
            m = mask[:, :, None].astype(np.float32)
            v = (h * m).sum(1) / m.sum(1)
            out[part] = v / np.linalg.norm(v, axis=1, keepdims=True)
        return out

embed(texts[:4])
tps = []
for _ in range(a.repeat):
    t = time.perf_counter()
    v = embed(texts)
    tps.append(len(texts) / (time.perf_counter() - t))
one = []
for _ in range(20):
    t = time.perf_counter()
    embed(["how do I create an index concurrently in a large database without blocking?"])
    one.append((time.perf_counter() - t) * 1e3)
if a.vectors:
    np.save(a.vectors, v)
print(json.dumps({"texts_per_s": tps, "query_ms": sorted(one)[len(one) // 2]}))
