/* A model: hyperparameters read through the architecture table, weights made ready for this
 * machine, one forward pass for batches of sequences.
 *
 * arch.c holds the table: an architecture is one row (its GGUF name, its hyperparameter reader, its
 * tensor list, its forward function) and one file arch_<family>.c. The generative families share
 * one residual-block forward with the differences as fields of struct hparams; bert has its own.
 *
 * A model is read-only after opening except for its compute team: one thread at a time may run
 * forward or embed (engine/ sees to that). */
#ifndef HEARTH_MODEL_MODEL_H
#define HEARTH_MODEL_MODEL_H

#include "model/vocab.h"
#include "tensor/ops.h"

struct model;
struct kv;

enum pooling { POOL_NONE, POOL_MEAN, POOL_CLS, POOL_LAST };

struct model_options {
    int n_threads;          /* 0: all cores */
    enum mul_mode mode;     /* MUL_EXACT: the plain path, for checks */
    int max_batch;          /* rows of one forward call, 0: 512 */
    const char *packed_dir; /* folder for a copy of the packed weights, NULL: none */
    int64_t packed_max_bytes, packed_min_bytes; /* as in struct packs_options */
    bool pin;                                   /* each thread on a core of its own: see team_pin */
    bool encoder_int8; /* encoders: 8-bit products instead of 12-bit ones */
};

/* Where the packed weights came from (see packs.h). */
enum packed_copy {
    PACKED_NO_COPY, /* packed into memory */
    PACKED_NEW,     /* packed into memory, and being copied to disk for the next time */
    PACKED_COPY     /* a copy on disk, used in place */
};

/* What opening took, and where the weights are. */
struct model_opening {
    /* One after the other; vocab: the wait for it, since it is read beside weights and buffers. */
    double files_ms, weights_ms, buffers_ms, vocab_ms;
    enum packed_copy copy;
    const char *copy_path, *copy_note; /* NULL: none */
};

struct model_info {
    const char *arch; /* "llama" */
    const char *name; /* general.name or the file's name */
    bool is_encoder;  /* bert: embeds, does not generate */
    bool generates;   /* has a head of words: no encoder, no head of labels in its place */
    /* NULL: it has a head that scores pairs, see model_rank and model_judge; else why it does not.
     */
    const char *rank_problem;
    int64_t n_params, n_layers, d_model, n_heads, n_kv_heads, head_dim, d_ff, n_vocab;
    int64_t n_ctx_train;
    enum pooling pooling;
    bool normalize;
    const char *chat_template; /* NULL: none */
    size_t weight_bytes;
};

MUST_CHECK enum status model_open(const char *path, const struct model_options *opt,
                                  struct model **out, struct err *e);
void model_close(struct model *m);
const struct model_info *model_info(const struct model *m);
struct model_opening model_opening(const struct model *m);
/* Finishes now what opening left to threads of low priority (see packs_settle). Owner's thread. */
void model_settle(struct model *m);
const struct vocab *model_vocab(const struct model *m);
const struct weights *model_weights(const struct model *m);
int model_threads(const struct model *m);
/* The kernel path taken by the i-th weight matrix; false past the last. */
bool model_mat_at(const struct model *m, size_t i, const char **name, enum tensor_type *type,
                  const char **path);

/* What passes cost at least, to compare speeds with the machine's ceilings. An operation is a
 * product or its sum; attention, norms and look-ups are not counted. */
struct model_cost {
    int64_t token_ops;  /* all layers' matrices, for one token */
    int64_t head_ops;   /* the output head, for one row of logits; 0 without a head */
    size_t layer_bytes; /* of those matrices as they are packed: read once in a pass */
    size_t head_bytes;
};
void model_cost(const struct model *m, struct model_cost *out);

/* KV memory: n_tokens positions of pooled blocks (KV_BLOCK tokens each) for all layers. A kv
 * belongs to one model; a sequence in it is a handle. */
MUST_CHECK enum status kv_open(const struct model *m, int64_t n_tokens, enum tensor_type type,
                               struct kv **out, struct err *e);
void kv_close(struct kv *kv);
MUST_CHECK enum status kv_seq_new(struct kv *kv, int32_t *seq, struct err *e);
void kv_seq_free(struct kv *kv, int32_t seq);
int64_t kv_seq_len(const struct kv *kv, int32_t seq);
void kv_seq_truncate(
    struct kv *kv, int32_t seq,
    int64_t n_tokens); /* forget positions >= n_tokens; blocks go back to the pool */

/* Tokens that seq (or a new one, -1) could still take; bytes of the pool. */
int64_t kv_free_tokens(const struct kv *kv, int32_t seq);
size_t kv_bytes(const struct kv *kv);
size_t kv_token_bytes(const struct kv *kv); /* keys and values of one position, all layers */

/* One run of tokens to append to a sequence. */
struct model_run {
    int32_t seq;
    const int32_t *ids;
    int64_t n_ids;
    bool all_logits; /* logits of every row; otherwise of the last one only */
};
/* Appends the runs (together at most max_batch rows) to their sequences and writes logits rows of
 * n_vocab floats in order to `logits` (NULL: none are computed). No allocation. ERR_CONTEXT when
 * the kv pool is full (nothing is appended then). `cancel` (may be NULL) is looked at between
 * layers: ERR_CANCELLED, and the sequences are as before. */
MUST_CHECK enum status model_forward(struct model *m, struct kv *kv, const struct model_run *runs,
                                     int n_runs, float *logits, const volatile bool *cancel,
                                     struct err *e);

/* Encoder, or mean/last-pooled hidden states of a generative model: n_seqs token sequences, packed
 * without padding, to [n_seqs][d_model] floats (normalised when the model's settings say so). A
 * sequence longer than the model's limit is ERR_CONTEXT: callers truncate, and report it. */
MUST_CHECK enum status model_embed(struct model *m, const int32_t *const *ids, const int64_t *n_ids,
                                   int n_seqs, enum pooling pooling, bool normalize, float *out,
                                   struct err *e);

/* Cross-encoder: the logit of each pair; ids are whole pairs with their special tokens, the second
 * part (token type 1) begins at second[i]. ERR_UNSUPPORTED: the model has no head for it. */
MUST_CHECK enum status model_rank(struct model *m, const int32_t *const *ids, const int64_t *n_ids,
                                  const int64_t *second, int n_pairs, float *logits, struct err *e);

/* Causal reranker: appends the run as model_forward does; *logit is what its last row says of the
 * pair: its head of labels (rank_problem NULL: one label, or "yes" less "no"), or, for a model
 * without one, token `yes` less token `no` of its vocabulary. */
MUST_CHECK enum status model_judge(struct model *m, struct kv *kv, const struct model_run *run,
                                   int32_t yes, int32_t no, float *logit, struct err *e);
#endif
