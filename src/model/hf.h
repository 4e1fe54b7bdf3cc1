/* Hugging Face directories: config.json and *.safetensors as the same metadata and tensor names
 * that a GGUF file of the model has.
 *
 * Read are config.json, generation_config.json, tokenizer_config.json, chat_template.jinja or .json
 * and, of sentence-transformers, modules.json with what it names. Tokenizer files are left to the
 * vocabulary (weights_sibling). Beyond GGUF's keys there are
 *   <arch>.rope.scaling.low_freq_factor, .high_freq_factor   with the scaling type "llama3"
 *   <arch>.normalize_embeddings (bool)                       of sentence-transformers directories
 *   tokenizer.ggml.eos_token_ids (array)                     when there are several */
#ifndef HEARTH_MODEL_HF_H
#define HEARTH_MODEL_HF_H

#include "model/weights_internal.h"

/* Opens the directory `w->path` into the otherwise empty `w`. */
MUST_CHECK enum status hf_open(struct weights *w, struct err *e);

#endif
