/* Operations of an encoder's fast paths, called like those of ops.h: by all workers of a team with
 * the same arguments, without a barrier at their end, deterministic in the same sense.
 *
 * A team may be a single worker with a share of the texts (`struct worker` with count 1): then
 * nothing waits for anything, and everything that one text needs stays in one core's cache.
 *
 * Weights: a struct mat opened with MUL_ENCODER (16-bit integers) or MUL_ENCODER_INT8 (layout:
 * kernels_enc.h). Activations: quantised rows in memory of the caller. */
#ifndef HEARTH_TENSOR_ENCODER_H
#define HEARTH_TENSOR_ENCODER_H

#include "tensor/ops.h"

/* Rows that a matrix of floats must have for n rows: the ops fill up to a multiple of four. */
static inline int64_t enc_rows(int64_t n)
{
    return (n + 3) / 4 * 4;
}

/* n rows of `cols` columns, quantised for matrices of the given mode; a view of `memory`. */
struct enc_act {
    int bits;
    int64_t n, cols;
    uint8_t *memory;
};
size_t enc_act_bytes(enum mul_mode mode, int64_t n, int64_t cols);
struct enc_act enc_act_view(void *memory, enum mul_mode mode, int64_t n, int64_t cols);

/* a <- x; x has enc_rows(n) rows of stride ldx. */
void op_enc_quant(const struct worker *w, const struct enc_act *a, const float *x, int64_t ldx);

/* y[i][r] = W a + bias, through GELU if asked for; y has enc_rows(n) rows of stride ldy. */
void op_enc_mul(const struct worker *w, const struct mat *m, const struct enc_act *a,
                const float *bias, bool gelu, float *y, int64_t ldy);

/* to <- W a + bias (through GELU), in blocks that never leave a core: for results that only another
 * product reads. Takes ENC_TOKENS * ENC_BLOCK floats of scratch. */
void op_enc_mul_quant(const struct worker *w, const struct mat *m, const struct enc_act *a,
                      const float *bias, bool gelu, const struct enc_act *to);

/* x = layernorm(x + residual), then a <- x; residual or a may be NULL. Rows of a->cols (or d)
 * floats without gaps. x and residual have enc_rows(n) rows. */
struct enc_norm {
    const float *gain, *bias;
    float eps;
};
void op_enc_norm(const struct worker *w, const struct enc_norm *norm, const float *residual,
                 int64_t n, int64_t d, float *x, const struct enc_act *a);

/* out[i] = attention of each head in its own text, whose tokens all see one another; like
 * op_attention_full(), in the arithmetic of the mode. starts[n_texts + 1] are rows of q, k, v (row
 * stride ld) and out (ldo); the first `most` tokens of each text ask. */
struct enc_attn {
    enum mul_mode mode;
    const float *q, *k, *v;
    int64_t ld;
    const int64_t *starts;
    int64_t n_texts, most, n_heads, head_dim;
    float scale;
    float *out;
    int64_t ldo;
};
void op_enc_attention(const struct worker *w, const struct enc_attn *a);
/* The scratch that op_enc_attention needs of a worker for texts of at most n tokens. */
size_t enc_attn_bytes(int64_t n, int64_t head_dim);

/* m->packed from the tensors' rows; called by mat_init. */
MUST_CHECK enum status enc_mat_pack(struct mat *m, const struct tensor *const *t, struct team *team,
                                    struct err *e);
#endif
