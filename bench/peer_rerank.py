"""Reranking peers on the same pairs: onnxruntime (fp32, dynamic int8) and torch (transformers, fp32 and bf16). Prints one JSON object.

The ONNX graph is exported once from the same safetensors into bench/out; it ends before the head, which numpy computes (exported with it,
quantize_dynamic refuses the graph). A request is tokenised and run as one padded batch, best of --repeat."""
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
ap.add_argument("--request", required=True, help="one JSON object {query, documents}")
ap.add_argument("--threads", type=int, default=2)
ap.add_argument("--repeat", type=int, default=5)
a = ap.parse_args()
os.environ["HF_HUB_OFFLINE"] = "1"
request = json.load(open(a.request))
OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "out")
NAMES = ["input_ids", "attention_mask", "token_type_ids"]


def load(**how):
    import torch
    from transformers import AutoModelForSequenceClassification
    torch.set_num_threads(a.threads)
    return torch, AutoModelForSequenceClassification.from_pretrained(a.model, **how).eval()


def export(path):
    torch, model = load(attn_implementation="eager")
    model = model.bert

    class Graph(torch.nn.Module):
        def forward(self, input_ids, attention_mask, token_type_ids):
            return model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state

    ids = torch.full((2, 8), 7, dtype=torch.long)  # no tensor may be given twice: the exporter would take both for one input
    shape = {0: torch.export.Dim("b"), 1: torch.export.Dim("n", min=2, max=512)}
    torch.onnx.export(Graph(), (ids, torch.ones_like(ids), torch.zeros_like(ids)), input_names=NAMES, output_names=["states"], dynamic_shapes=(shape, shape, shape),
                      dynamo=True).save(path)


def onnx_model():
    import onnxruntime as ort
    path = os.path.join(OUT, "minilm-rerank.onnx")
    if not os.path.exists(path):
        with contextlib.redirect_stdout(sys.stderr):  # the exporter talks; stdout is the result
            export(path)
    if a.engine == "onnx-int8":
        quantised = os.path.join(OUT, "minilm-rerank-int8.onnx")
        if not os.path.exists(quantised):
            from onnxruntime.quantization import QuantType, quantize_dynamic
            quantize_dynamic(path, quantised, weight_type=QuantType.QInt8, per_channel=True)
        path = quantised
    opt = ort.SessionOptions()
    opt.intra_op_num_threads = a.threads
    session = ort.InferenceSession(path, opt, providers=["CPUExecutionProvider"])
    from safetensors.numpy import load_file
    w = load_file(os.path.join(a.model, "model.safetensors"))

    def logits(inputs):
        first = session.run(None, inputs)[0][:, 0]
        return np.tanh(first @ w["bert.pooler.dense.weight"].T + w["bert.pooler.dense.bias"]) @ w["classifier.weight"][0] + w["classifier.bias"][0]
    return logits


def torch_model():
    torch, model = load()
    if a.engine == "torch-bf16":
        model = model.bfloat16()

    def logits(inputs):
        with torch.inference_mode():
            return model(**{k: torch.from_numpy(v) for k, v in inputs.items()}).logits[:, 0].float().numpy()
    return logits


def main():
    from tokenizers import Tokenizer
    tok = Tokenizer.from_file(os.path.join(a.model, "tokenizer.json"))
    tok.enable_truncation(512)
    tok.enable_padding()
    run = onnx_model() if a.engine.startswith("onnx") else torch_model()
    seconds = []
    for _ in range(a.repeat + 1):
        begin = time.perf_counter()
        enc = tok.encode_batch([(request["query"], d) for d in request["documents"]])
        inputs = {"input_ids": np.array([x.ids for x in enc], np.int64), "attention_mask": np.array([x.attention_mask for x in enc], np.int64),
                  "token_type_ids": np.array([x.type_ids for x in enc], np.int64)}
        logits = run(inputs)
        seconds.append(time.perf_counter() - begin)
    print(json.dumps({"seconds": sorted(seconds[1:]), "tokens": int(inputs["attention_mask"].sum()), "logits": [float(v) for v in logits]}))


main()
