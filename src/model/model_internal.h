/* What the files of a model share: its parts, its buffers, and one pass through it.
 *
 * Layout of activations: row-major floats, one row per token; a layer's q, k and v lie side by side
 * in one row of `qkv`. All buffers are allocated at open for max_batch rows. */
#ifndef HEARTH_MODEL_MODEL_INTERNAL_H
#define HEARTH_MODEL_MODEL_INTERNAL_H

#include "model/hparams.h"
#include "model/kv.h"
#include "model/model.h"
#include "model/packs.h"
#include "model/weights.h"

/* Up to three weights that multiply the same input; their outputs lie side by side. One fused
 * matrix when their types agree, else one each (Q4_K_M files keep v in Q6_K). */
enum { PROJ_MAX = 3 };
struct proj {
    struct mat mats[PROJ_MAX];
    int n_mats;
    int64_t at[PROJ_MAX]; /* first output column of each mat */
    int64_t rows, cols;   /* outputs together, inputs */
};

/* A residual block. Vectors are floats in the model's arena; NULL: the model has none. */
struct layer {
    const float *attn_norm, *attn_norm_bias; /* before attention (decoders), after (encoders) */
    struct proj qkv, out;
    const float *qkv_bias, *out_bias;
    const float *q_norm, *k_norm;          /* [head_dim] */
    const float *ffn_norm, *ffn_norm_bias; /* before (decoders), after (encoders) */
    struct proj up, down;                  /* up: gate|up of decoders */
    const float *up_bias, *down_bias;
};

struct mat_entry {
    const char *name;
    const struct mat *mat;
};

/* One forward call, filled by the caller's thread before team_run. */
struct pass {
    struct model *m;
    struct kv *kv;
    int64_t n, n_seqs, n_logits;
    float *logits;         /* NULL: no language-model head */
    bool normalize_states; /* decoders: final norm of every row into `h` */
    const volatile bool *cancel;
    bool stopped; /* written by worker 0 before a barrier, read after it */
};

struct model {
    struct weights *w;
    struct vocab *vocab;
    struct team *team;
    struct packs *packs; /* memory of the packed weights */
    struct model_opening opening;
    struct arena arena;
    const struct arch *arch;
    struct hparams hp;
    struct model_info info;
    enum mul_mode mode;
    int64_t max_batch;

    struct mat tokens; /* embedding table; also the head when they are tied */
    struct mat head;   /* zero when tied or for an encoder */
    const float *final_norm;
    struct layer *layers;
    struct rope rope;
    const float *positions;   /* encoders: [n_ctx_train][d_model] */
    const float *token_types; /* encoders: [n_token_types][d_model]; NULL: none */
    const float *embed_norm, *embed_norm_bias;
    /* Head of a cross-encoder, over the first token: tanh(pooler x + bias), then one label. */
    const float *pooler, *pooler_bias, *label, *label_bias; /* label NULL: none */
    /* Rows of cls.output that a causal reranker's pair is judged by; no is -1 with one label. */
    struct label_rows {
        const struct tensor *table; /* NULL: none */
        int32_t yes, no;
    } labels;
    struct mat_entry *mats;
    size_t n_mats;

    struct act act, ff_act;                  /* ff_act: of what `down` multiplies (decoders) */
    float *x, *h, *qkv, *attn, *ff_tmp, *ff; /* [max_batch][d, d, q+2kv, q, 2 d_ff, d_ff] */
    float *turns;                            /* [max_batch][rot_dim], see op_rope_turns */
    int32_t *ids, *pos;
    int64_t *logit_rows, *starts; /* [max_batch], [max_batch + 1] */
    struct attn_seq *seqs;        /* [max_batch] */
    struct pass pass;
    struct encoder *encoder; /* the fast pass of an encoder; NULL: decoders, MUL_EXACT */
    struct kv *embed_kv;     /* of model_embed for decoders; opened at its first use */
};

static inline int64_t q_dim(const struct hparams *hp)
{
    return hp->n_heads * hp->head_dim;
}
static inline int64_t kv_dim(const struct hparams *hp)
{
    return hp->n_kv_heads * hp->head_dim;
}
/* y = W x for m->act rows (n x cols at x); ends with a barrier. */
void proj_mul(const struct worker *w, struct model *m, const struct proj *j, const float *x,
              int64_t n, float *y, int64_t ldy);
/* Runs m->pass on the team. */
MUST_CHECK enum status pass_run(struct model *m, struct err *e);
/* As model_forward; with `states` the normalised hidden states of every row are then in m->h. */
MUST_CHECK enum status decoder_pass(struct model *m, struct kv *kv, const struct model_run *runs,
                                    int n_runs, float *logits, bool states,
                                    const volatile bool *cancel, struct err *e);
#endif
