/* Weights: the tensors and the metadata of a model file, whatever its container.
 *
 * A GGUF file (v2 or v3, one file or the first of `-00001-of-000NN.gguf`) and a Hugging Face
 * directory (config.json, *.safetensors or model.safetensors.index.json, tokenizer files) both open
 * to the same thing: named tensors over read-only mappings, and typed metadata under GGUF's keys
 * ("llama.block_count", "tokenizer.ggml.tokens", ...). For a directory the reader translates:
 * config.json to those keys, tensor names to GGUF's
 * ("model.layers.0.self_attn.q_proj.weight" -> "blk.0.attn_q.weight"). One difference cannot be
 * renamed away: GGUF llama files store q and k rows permuted for interleaved RoPE, Hugging Face
 * ones do not; weights_rope_neox() says which.
 *
 * Everything read from a file is checked: counts and lengths against the bytes that are there,
 * alignment, overlap, overflow, duplicate names, types, shapes. A hostile header gives ERR_FORMAT
 * with file and offset, and never an allocation that the file's size does not justify. Thread-safe
 * after opening (read-only). */
#ifndef HEARTH_MODEL_WEIGHTS_H
#define HEARTH_MODEL_WEIGHTS_H

#include "tensor/types.h"

struct weights;

/* `path`: a .gguf file or a directory with config.json. Errors: ERR_NOT_FOUND, ERR_IO, ERR_FORMAT,
 * ERR_UNSUPPORTED (names tensor and type), ERR_LIMIT, ERR_MEMORY, ERR_MISMATCH (parts that do not
 * belong together), ERR_USAGE (a later part of a split file). */
MUST_CHECK enum status weights_open(const char *path, struct weights **out, struct err *e);
void weights_close(struct weights *w); /* NULL is allowed */

const char *weights_path(const struct weights *w);
const char *weights_format(const struct weights *w); /* "GGUF v3", "safetensors" */
size_t weights_file_bytes(const struct weights *w);  /* of all parts */
bool weights_rope_neox(const struct weights *w, const char *arch);

struct named_tensor {
    const char *name;
    struct tensor t;
    const char *file; /* the part that holds it */
    uint64_t offset;  /* in that file */
};
size_t weights_count(const struct weights *w);
const struct named_tensor *weights_at(const struct weights *w, size_t i);
const struct named_tensor *weights_find(const struct weights *w,
                                        const char *name); /* NULL when absent */

/* The tensor's pages (NULL: all pages of the files) may leave this process's memory until they are
 * read again. */
void weights_release(const struct weights *w, const struct tensor *t);

/* Metadata. The getters return false when the key is absent or of another kind; integers convert
 * between GGUF's widths when the value fits. */
enum meta_kind { META_NONE, META_BOOL, META_INT, META_UINT, META_FLOAT, META_STRING, META_ARRAY };
struct meta_str {
    const char *p; /* not NUL-terminated, may hold NULs */
    size_t n;
};
size_t weights_meta_count(const struct weights *w);
const char *weights_meta_key(const struct weights *w, size_t i, enum meta_kind *kind);
bool meta_i64(const struct weights *w, const char *key, int64_t *out);
bool meta_f64(const struct weights *w, const char *key, double *out);
bool meta_bool(const struct weights *w, const char *key, bool *out);
bool meta_string(const struct weights *w, const char *key, struct meta_str *out);
/* Arrays: length (0 when absent) and items. An array of strings is indexed once at opening, so that
 * items are O(1). */
size_t meta_array_len(const struct weights *w, const char *key, enum meta_kind *item_kind);
bool meta_array_string(const struct weights *w, const char *key, size_t i, struct meta_str *out);
bool meta_array_i64(const struct weights *w, const char *key, size_t i, int64_t *out);
bool meta_array_f64(const struct weights *w, const char *key, size_t i, double *out);
/* The same of an array that is found once, for those who read all of it. NULL: no array. */
struct meta_array;
const struct meta_array *meta_array_find(const struct weights *w, const char *key);
bool meta_item_string(const struct meta_array *a, size_t i, struct meta_str *out);
bool meta_item_i64(const struct meta_array *a, size_t i, int64_t *out);
bool meta_item_f64(const struct meta_array *a, size_t i, double *out);

/* For a directory: the path of a sibling file ("tokenizer.json", "vocab.txt",
 * "1_Pooling/config.json"), NULL when it does not exist. The folder is listed once, at opening. */
const char *weights_sibling(const struct weights *w, const char *name);

#endif
