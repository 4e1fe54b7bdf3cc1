/* The waist: above this header there are texts and token ids, never tensors.
 *
 * An engine is one opened model with its compute team, tokenizer and chat template. Server,
 * retrieval, agents and evaluation use this header and session.h and nothing lower; remote engines
 * will stand behind the same functions.
 *
 * Threads: an engine may be called from any thread; calls that compute take its lock for their
 * whole duration (one compute team per engine). Ownership: engine_open/engine_close; returned
 * strings live as long as the engine. */
#ifndef HEARTH_ENGINE_ENGINE_H
#define HEARTH_ENGINE_ENGINE_H

#include <jansson.h>

#include "base/mem.h"

struct engine;

/* How keys and values are kept. ENGINE_KV_DEFAULT: f16, and f32 on the plain path. */
enum engine_kv { ENGINE_KV_DEFAULT, ENGINE_KV_F16, ENGINE_KV_Q8_0, ENGINE_KV_F32 };

struct engine_options {
    int n_threads; /* 0: all cores */
    int64_t n_ctx; /* tokens of KV memory; 0: the model's own limit, at most 4096 */
    enum engine_kv kv;
    bool exact;      /* plain float path (slow), to compare with */
    bool embed_int8; /* encoders: 8-bit products, twice as fast, cosine 0.995 and more to `exact` */
    bool pin;        /* each compute thread on a core of its own; an error where that cannot be */
    int max_batch;   /* prompt tokens per forward pass; 0: 512 */
    const char *packed_dir;   /* keeps a copy of the packed weights in this folder; NULL: none */
    int64_t packed_max_bytes; /* of all copies there; 0: no limit */
};

/* `path`: a GGUF file or a Hugging Face directory. Errors as model_open; ERR_NOT_FOUND names the
 * file. */
MUST_CHECK enum status engine_open(const char *path, const struct engine_options *opt,
                                   struct engine **out, struct err *e);
void engine_close(struct engine *en);

struct engine_info {
    const char *path, *name, *arch, *format;
    bool generates; /* has a language-model head */
    bool embeds;    /* an encoder */
    bool ranks;     /* made for engine_rank: a cross-encoder, or labels in place of a vocabulary */
    bool has_template;
    int64_t n_params, n_layers, d_model, n_heads, n_kv_heads, d_ff, n_vocab;
    int64_t n_ctx_train; /* what the model was trained for */
    int64_t n_ctx;       /* what this engine was opened with */
    size_t file_bytes, kv_bytes;
    int n_threads;
    const char *isa;     /* "avx512-vnni" */
    const char *kv_type; /* "f16", "q8_0", "f32"; NULL without a KV cache */
    const char *pooling; /* "mean", "cls", "last", "none" */
};
const struct engine_info *engine_info(const struct engine *en);

/* SHA-256 (hex) over what decides its embeddings: names, shapes and sampled bytes of all tensors,
 * tokenizer, pooling. Made at the first call (milliseconds, so that a generator does without), from
 * the owner's thread; *out lives as long as the engine. ERR_MEMORY. */
MUST_CHECK enum status engine_identity(struct engine *en, const char **out, struct err *e);

/* What opening took, part by part, and where the packed weights came from. Of the owner's thread;
 * strings live as long as the engine. */
struct engine_opening {
    double files_ms, vocab_ms, weights_ms, buffers_ms, rest_ms;
    const char *weights;               /* "packed", "packed, to be copied", "copy" */
    const char *copy_path, *copy_note; /* NULL: none, nothing to say */
};
struct engine_opening engine_opening(const struct engine *en);
/* Finishes now what opening left to threads of low priority, for who measures. Owner's thread. */
void engine_settle(struct engine *en);

/* Kernel path of the i-th kind of weight ("Q4_1" -> "avx512-vnni q4", with the number of matrices);
 * false past the last. */
bool engine_path_at(const struct engine *en, size_t i, const char **type, const char **path,
                    int64_t *n_mats);
/* True for a path that computes with floats although the engine was not asked to: slow. */
bool engine_path_is_plain(const char *path);

/* What work costs at least (see model_cost), to compare speeds with the machine's ceilings. */
struct engine_cost {
    int64_t token_ops, head_ops;
    size_t layer_bytes, head_bytes;
    size_t kv_token_bytes; /* read for each position that a token attends to; 0: no KV cache */
};
void engine_cost(const struct engine *en, struct engine_cost *out);

/* Tokens. `data` grows by realloc; zeroed struct = empty. */
struct token_ids {
    int32_t *data;
    size_t n, cap;
};
void token_ids_fini(struct token_ids *t);
bool token_ids_put(struct token_ids *t, const int32_t *ids, size_t n); /* false: out of memory */
enum { TOKENIZE_ADD_SPECIAL = 1, TOKENIZE_PARSE_SPECIAL = 2 };
MUST_CHECK enum status engine_tokenize(const struct engine *en, const char *text, size_t n,
                                       unsigned flags, struct token_ids *out, struct err *e);
void engine_detokenize(const struct engine *en, const int32_t *ids, size_t n, bool special,
                       struct buf *out);
MUST_CHECK enum status engine_count_tokens(const struct engine *en, const char *text, size_t n,
                                           size_t *count, struct err *e);

/* Renders the variables ("messages", "tools", "add_generation_prompt", ...) with the model's own
 * template, and appends its ids (special tokens of the template are parsed; look-alikes inside
 * message contents stay text). rendered may be NULL. ERR_UNSUPPORTED: no template, or one that
 * cannot be run. */
MUST_CHECK enum status engine_chat_prompt(const struct engine *en, const json_t *vars,
                                          struct token_ids *out, struct buf *rendered,
                                          struct err *e);

/* Embeddings: one row of d_model floats per text, in order. */
enum embed_role { EMBED_DOCUMENT, EMBED_QUERY };
struct embed_options {
    enum embed_role role; /* picks the model's prefix, if it has one */
    bool no_normalize;
};
struct embed_report {
    int64_t n_tokens;    /* computed, special tokens included */
    int64_t n_truncated; /* texts longer than the model's limit; flags[i] & 1 says which when flags
                            is not NULL */
};
MUST_CHECK enum status engine_embed(struct engine *en, const char *const *texts, const size_t *lens,
                                    size_t n, const struct embed_options *opt, float *out,
                                    uint8_t *flags, struct embed_report *report, struct err *e);

/* Reranking: how well each document answers the query, as a logit.
 *
 * Cross-encoder: of the pair [CLS] query [SEP] document [SEP]. A pair longer than the model reads
 * loses tokens from the end of its longer part first (the reference's "longest_first").
 * Language model: of "yes" against "no" as its answer to the question whether the document meets
 * the query and the instruction (Zhang et al. 2025, Qwen3-Reranker); the document is cut at its
 * end where the context ends. n_tokens counts those of the question, too.
 *
 * flags[i] (NULL: not wanted) says which part was cut. ERR_UNSUPPORTED: an encoder without a head
 * for it, a language model without a chat template or without "yes" and "no" as tokens. */
enum { RANK_QUERY_CUT = 1, RANK_DOCUMENT_CUT = 2 };
struct rank_request {
    const char *query;
    size_t query_len;
    const char *const *documents; /* [n] */
    const size_t *lens;           /* [n] */
    size_t n;
    const char *instruction; /* of language models; NULL: to find passages that answer a query */
};
struct rank_report {
    int64_t n_tokens;    /* of all pairs, special tokens included */
    int64_t n_truncated; /* pairs that were cut */
};
MUST_CHECK enum status engine_rank(struct engine *en, const struct rank_request *q, float *logits,
                                   uint8_t *flags, struct rank_report *report, struct err *e);
/* A logit as a score from 0 to 1: the logistic function, applied once. */
double engine_rank_score(float logit);
/* ERR_UNSUPPORTED when the model puts an answer behind a sentence that has nothing to do with the
 * question: files whose head was lost or never trained give numbers, too. *ran: it gave some. */
MUST_CHECK enum status engine_rank_check(struct engine *en, bool *ran, struct err *e);

/* Perplexity of a text: exp of the mean negative log-likelihood over non-overlapping windows of
 * n_ctx tokens, the second half of each window counted (the convention of llama.cpp's perplexity
 * tool; BOS is put first in each window when the model wants one). */
struct perplexity {
    double value, nll_mean, std_error;
    int64_t n_tokens, n_windows;
};
MUST_CHECK enum status engine_perplexity(struct engine *en, const char *text, size_t n,
                                         int64_t n_ctx,
                                         void (*progress)(void *ctx, int64_t done, int64_t total),
                                         void *ctx, struct perplexity *out, struct err *e);
#endif
