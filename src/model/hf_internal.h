/* What the files of the Hugging Face reader share: hf.c (the directory and its tensors), hf_names.c
 * (tensor names), hf_config.c (hyperparameters), hf_tokens.c (special tokens, chat template). */
#ifndef HEARTH_MODEL_HF_INTERNAL_H
#define HEARTH_MODEL_HF_INTERNAL_H

#include <jansson.h>

#include "model/weights_internal.h"

/* One architecture that a directory may hold. */
struct hf_arch {
    const char *model_type; /* in config.json */
    const char *arch;       /* GGUF's name */
    bool is_encoder;
    bool is_roberta;  /* positions are counted from behind the padding's id */
    bool fairseq_ids; /* a bare SentencePiece model has fewer ids than the model */
};
const struct hf_arch *hf_arch_find(const char *model_type); /* NULL: unknown */

/* GGUF's name of a tensor, in the arena; NULL for one that is no weight of the model (buffers, a
 * pooler, training heads) or when memory ran out, which *no_memory tells. */
const char *hf_tensor_name(struct arena *arena, const struct hf_arch *arch, const char *name,
                           bool *no_memory);

/* Rows of the table of positions that no text uses: *out = pad_token_id + 1 for RoBERTa, else 0. */
MUST_CHECK enum status hf_position_offset(const struct weights *w, const json_t *config,
                                          const struct hf_arch *arch, int64_t *out, struct err *e);
/* Adds the metadata of config.json and of sentence-transformers' files. `tied` says whether the
 * output matrix is the embedding. */
MUST_CHECK enum status hf_read_config(struct weights *w, const json_t *config,
                                      const struct hf_arch *arch, bool *tied, struct err *e);
/* Adds special token ids and chat templates. */
MUST_CHECK enum status hf_read_tokens(struct weights *w, const json_t *config, struct err *e);

/* A JSON file of the directory; *out is NULL when it does not exist. The caller drops it. */
MUST_CHECK enum status hf_load_json(const struct weights *w, const char *name, json_t **out,
                                    struct err *e);

/* A whole number; false for anything else. */
bool hf_int(const json_t *v, int64_t *out);

/* Adds an entry; a key that is there already keeps its value. */
MUST_CHECK enum status hf_put(struct weights *w, const char *key, struct meta m, struct err *e);
/* A key below the architecture: "llama" and "block_count" give "llama.block_count". */
MUST_CHECK enum status hf_put_arch(struct weights *w, const struct hf_arch *arch, const char *key,
                                   struct meta m, struct err *e);
static inline struct meta meta_of_uint(uint64_t v)
{
    return (struct meta){.kind = META_UINT, .v.u = v};
}
static inline struct meta meta_of_float(double v)
{
    return (struct meta){.kind = META_FLOAT, .v.f = v};
}
static inline struct meta meta_of_bool(bool v)
{
    return (struct meta){.kind = META_BOOL, .v.b = v};
}
/* The text is copied to the arena of the weights by hf_put. */
static inline struct meta meta_of_text(const char *p, size_t n)
{
    return (struct meta){.kind = META_STRING, .v.s = {p, n}};
}

#endif
