/* The seam between operations and instruction sets: one table of functions over bare pointers.
 *
 * kernels_scalar.c fills every entry and is the definition; kernels_<isa>.c override what they do
 * better, in ascending order of cpu_features(). A kernel does a whole row, tile or block, so that
 * the indirect call costs nothing. Ops divide the work among workers and call these. */
#ifndef HEARTH_TENSOR_KERNELS_H
#define HEARTH_TENSOR_KERNELS_H

#include "tensor/ops.h"

/* Queries that attend together: heads of one group (they share keys and values) times rows. */
enum { ATTN_QUERIES = 16, ATTN_MAX_DIM = 256 };

/* Running state of a tile of queries; see attn_block. */
struct attn_tile {
    int n;            /* queries, at most ATTN_QUERIES */
    int64_t head_dim; /* multiple of 16, at most ATTN_MAX_DIM */
    float softcap;
    const float *q;           /* [n][head_dim], already times the softmax scale */
    int64_t lo[ATTN_QUERIES]; /* query i sees positions lo <= p < hi */
    int64_t hi[ATTN_QUERIES];
    float peak[ATTN_QUERIES];  /* running maximum of its scores, -INFINITY at first */
    float total[ATTN_QUERIES]; /* sum of exp(score - peak) */
    float *acc;                /* [n][head_dim] sum of exp(score - peak) * v, zero at first */
};

struct kernels {
    const char *name;
    float (*dot_f32)(const float *a, const float *b, size_t n);
    int32_t (*dot_i8)(const int8_t *a, const int8_t *b, size_t n);
    void (*scan_i8)(const int8_t *query, const int8_t *rows, size_t n, size_t d, int32_t *out);
    void (*add)(float *y, const float *x, size_t n);
    void (*rmsnorm)(const float *x, const float *gain, float eps, size_t d, float *y);
    void (*layernorm)(const float *x, const float *residual, const float *gain, const float *bias,
                      float eps, size_t d, float *y);
    void (*gelu)(float *x, size_t n);
    void (*silu_mul)(const float *gate, const float *up, size_t n, float *y);
    /* Rotates one head: cosine and sine of rot_dim / 2 pairs. */
    void (*rope)(float *x, const float *cosine, const float *sine, size_t rot_dim, bool neox);
    /* Writes the key and value of one head and token into slot `slot` of a section (see
     * kv_section_bytes). */
    void (*kv_put)(enum tensor_type type, uint8_t *section, size_t slot, size_t head_dim,
                   const float *k, const float *v);
    /* Lets the tile's queries see the 32 slots of one section, positions pos .. pos + 31. A query
     * is untouched by a section that it does not see, and its result does not depend on the others
     * in the tile. */
    void (*attn_block)(struct attn_tile *t, enum tensor_type type, const uint8_t *section,
                       int64_t pos);
};

const struct kernels *kernels(void); /* the table of this machine; chosen once */

/* The table for one instruction set, for tests: NULL when this machine or build lacks it.
 * Names: "scalar", "avx2", "avxvnni", "avx512", "avx512bf16", "neon". */
const struct kernels *kernels_for(const char *isa);

void kernels_fill_scalar(struct kernels *k);

/* One KV head of one block ("section"), KV_BLOCK slots. Keys first, then values:
 *   F32, F16: keys [head_dim][32] (so that 32 scores are made side by side without horizontal
 *     sums), values [32][head_dim]. F32 is what op_attention_full packs into.
 *   Q8_0: keys s8 [head_dim / 4][32][4], f16 scales [head_dim / 32][32]; values s8 [32][head_dim],
 *     f16 scales [32][head_dim / 32]. */
size_t kv_section_bytes(enum tensor_type type, size_t head_dim);

#endif
