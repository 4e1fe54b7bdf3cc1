"""A MiniLM-sized cross-encoder for timings: the demo embedding model's layers (6 x 384) under a random head."""
import argparse
import json
import os
import shutil

import numpy as np
from safetensors.numpy import load_file, save_file

ap = argparse.ArgumentParser(description=__doc__)
ap.add_argument("--base", required=True, help="a BertModel directory")
ap.add_argument("--out", required=True)
a = ap.parse_args()
os.makedirs(a.out, exist_ok=True)
weights = {"bert." + k: v for k, v in load_file(os.path.join(a.base, "model.safetensors")).items() if not k.endswith("position_ids")}
d = weights["bert.embeddings.word_embeddings.weight"].shape[1]
r = np.random.default_rng(1)
weights["bert.pooler.dense.weight"] = (r.standard_normal((d, d)) * d ** -0.5).astype(np.float32)
weights["bert.pooler.dense.bias"] = np.zeros(d, np.float32)
weights["classifier.weight"] = (r.standard_normal((1, d)) * 4 * d ** -0.5).astype(np.float32)
weights["classifier.bias"] = np.zeros(1, np.float32)
save_file(weights, os.path.join(a.out, "model.safetensors"), metadata={"format": "pt"})
config = json.load(open(os.path.join(a.base, "config.json")))
config.update(architectures=["BertForSequenceClassification"], num_labels=1, id2label={"0": "LABEL_0"}, label2id={"LABEL_0": 0})
json.dump(config, open(os.path.join(a.out, "config.json"), "w"), indent=1)
for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
    if os.path.exists(os.path.join(a.base, name)):
        shutil.copy(os.path.join(a.base, name), a.out)
