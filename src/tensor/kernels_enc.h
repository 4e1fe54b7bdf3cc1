/* Products of encoders: layouts and the definition of their arithmetic.
 *
 * An encoder multiplies many rows at once by small matrices, so it pays to give up the file's own
 * scales: weights and activations become integers with one scale per row (or token) and ENC_BLOCK
 * columns, and float arithmetic happens once per block.
 *
 * A matrix is cut into panels of ENC_ROWS rows; the columns are padded with zeros to 16. A dword
 * holds 4 columns (8 bits) or 2 columns (16 bits) of one row or token:
 *   weights   values [dwords][32 rows] dwords of int8 or int16; then float factors
 *             [blocks][2][32]: the scale, and scale * sum of the row's integers (for 8 bits)
 *   tokens    panels of 4, 8 or 12: values [dwords][nt] dwords of uint8 or int16, float scale
 *             [blocks][nt] and shift [blocks][nt]
 * 8 bits: weights -127 .. 127, activations 0 .. 255 about a zero point of their own per token and
 * block (shift = -zero * scale), because GELU's output is far from symmetric.
 * 16 bits: weights to +-ENC_WEIGHT16, activations to +-ENC_ACT16, so that a block's sum fits int32.
 *
 * Definition of one row and token (fl: rounded to float):
 *   y = bias; for each block: y = fma(fl(dot), fl(weight scale * token scale), y)
 *                             8 bits: y = fma(scale * row sum, shift, y)
 *   gelu: y = y * fma(c, P(u), 1/2), c = y limited to +-ENC_GELU_LIMIT, u = fma(c * c, 2 / limit^2,
 *   -1), P by Horner's rule with fma; 8 bits: limit and P of their own, u = c * c.
 * Every step is exactly rounded, so all instruction sets and any tiling give the same bits. */
#ifndef HEARTH_TENSOR_KERNELS_ENC_H
#define HEARTH_TENSOR_KERNELS_ENC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ENC_ROWS = 32, ENC_TOKENS = 12, ENC_UNIT = 4, ENC_BLOCK = 384, ENC_PAD = 16 };
#define ENC_WEIGHT16 2047.0f
#define ENC_ACT16 2730.0f /* 384 * 2047 * 2730 < 2^31 */

/* GELU's Phi(x) - 1/2 = x P(u), minimax on [0, 4.5]: x Phi(x) is within 2e-5 + 5e-6 |x|, a
 * hundredth of the finest quantisation step that it goes into. */
#define ENC_GELU_LIMIT 4.5f
#define ENC_GELU_TO_U 0.0987654321f
#define ENC_GELU_COEFFICIENTS                                                        \
    -0.00156567339f, 0.00465531647f, -0.00668283552f, 0.0101404665f, -0.0181592274f, \
        0.0286239646f, -0.0402957872f, 0.0546718501f, -0.0771833733f, 0.156905293f
enum { ENC_GELU_TERMS = 10 };
/* For 8 bits x Phi(x) is within 1.4e-3 + 2e-4 |x|, a tenth of a step. */
#define ENC_GELU8_LIMIT 3.5f
#define ENC_GELU8_COEFFICIENTS \
    9.3663939e-06f, -0.000384760613f, 0.00644943677f, -0.0589355454f, 0.393409342f
enum { ENC_GELU8_TERMS = 5 };

/* Attention of one head of one text, all of whose tokens see one another; in integers, like the
 * products. Keys and values are taken about the middle of their column's range: what is the same
 * for all keys changes no weight, and what is the same for all values is added at the end. So keys
 * need only one scale for all tokens, and scores no arithmetic but their query's unit.
 *
 * The definition, for n tokens of d columns (K, V: the largest integers below):
 *   keys    mid_c = fl((least + most) / 2), half_c = fl((most - least) / 2); ks = fl(max half / K);
 *           k = rint(fl((x - mid) * fl(1 / ks)))
 *   values  the same with a scale vs_c = fl(half_c / V) per column
 *   query   qs = fl(max |x| / K); q = rint(fl(x * fl(1 / qs)))
 *   dot_j = q . k_j, M = max dot_j, unit = fl(qs * fl(ks * fl(scale * log2(e) * U))), at most 1 for
 *   8 bits; x_j = dot_j as a float
 *   8 bits  u_j = rint(fma(-(x_j + ACC_BIAS), unit, fl((M + ACC_BIAS) * unit))), not below 0;
 *           p_j = enc_chances[u_j % 32] >> u_j / 32; U = 32, K = ENC_HEAD8
 *   16 bits t_j = max(fl(fl(x_j - M) * unit), -40); p_j = rint(ENC_CHANCE * 2^t_j), the power as a
 *           polynomial of degree 3; U = 1, K = ENC_HEAD16
 *   o_c = sum of p_j v_jc, of ENC_CHANCE_KEYS keys; those sums added as floats in order
 *   out_c = fma(o_c, fl(vs_c * fl(1 / sum of p_j)), mid_c); V = ENC_VALUE
 * A scale of at most 1e-25 has the inverse 0; ranges that are not finite make all NaN.
 *
 * With 8 bits a step of 1 in 32 of an octave is finer than what they leave of a score. Rejected:
 * weights in 8 bits, which take half the products and round what many small weights add up to. */
enum { ENC_QUERIES = 32, ENC_MAX_HEAD = 256, ENC_CHANCE_KEYS = 256, ENC_CHANCE_STEPS = 32 };
#define ENC_HEAD8 127.0f
#define ENC_HEAD16 2896.0f  /* 256 * 2896^2 < 2^31 */
#define ENC_CHANCE 16383.0f /* 256 * 16384 * 511 < 2^31 */
#define ENC_VALUE 511.0f
#define ENC_EXP2_COEFFICIENTS 0.0558011f, 0.240227f, 0.693147f, 1.0f
extern const uint16_t enc_chances[ENC_CHANCE_STEPS]; /* rint(ENC_CHANCE * 2^(-i / 32)) */

struct enc_head {
    int bits;
    const float *q, *k, *v; /* [n][d] in rows of stride ld */
    size_t ld, n, d;        /* d: a multiple of 16, at most ENC_MAX_HEAD */
    size_t n_queries;       /* the first so many tokens ask */
    float scale;            /* of the softmax */
    float *out;             /* [n_queries][d] in rows of stride ldo */
    size_t ldo;
    uint8_t *memory; /* enc_head_bytes(), 64-aligned; contents do not matter */
};

/* Parts of an enc_head's memory. Keys in panels of 12 tokens (the last of 4, 8 or 12), as tokens of
 * a product; values [keys / 2][d][2] of int16; 32 queries as [dwords][32], which gives scores
 * [keys][32] and weights [keys / 2][32][2] of int16. */
struct enc_room {
    uint8_t *k, *v, *q;
    float *s;
    uint8_t *p;
};

struct enc_panel { /* 64-aligned */
    const uint8_t *values;
    const float *factors;
    /* What is wanted next, to be fetched meanwhile at `ahead_step` (0, 64 or 128) bytes for each
     * dword of columns; never NULL. A hint, which kernels may pass over. */
    const uint8_t *ahead;
    size_t ahead_step;
};

struct enc_tokens { /* 64-aligned values */
    uint8_t *values;
    float *scale, *shift;
    int nt;
};

struct enc_kernels {
    /* y[t][r], t < x->nt, r < width: rows of one panel of weights; y has the row stride ldy. bias
     * has `width` floats. cols is padded. */
    void (*mul)(int bits, const struct enc_panel *w, const struct enc_tokens *x, size_t cols,
                const float *bias, bool gelu, size_t width, float *y, size_t ldy);
    /* Tokens t .. t + 3 of the panel from four rows of n columns (row stride ldx); all of their
     * blocks. A block that holds what is not finite gets the scale NaN. */
    void (*quant)(int bits, const float *x, size_t ldx, size_t n, struct enc_tokens *p, int t);
    void (*attend)(const struct enc_head *h);
};

static inline size_t enc_padded(size_t cols)
{
    return (cols + ENC_PAD - 1) / ENC_PAD * ENC_PAD;
}

static inline size_t enc_blocks(size_t cols)
{
    return (cols + ENC_BLOCK - 1) / ENC_BLOCK;
}

/* Dwords of a padded number of columns. */
static inline size_t enc_dwords(int bits, size_t cols)
{
    return cols * (size_t)bits / 32;
}

/* Memory of a head's parts, and where they lie in it (room NULL: only the bytes). 16 bits need the
 * most. */
size_t enc_head_bytes(int bits, size_t n, size_t d, uint8_t *memory, struct enc_room *room);

struct kernels;
void kernels_fill_scalar_enc(struct kernels *k);
void kernels_fill_scalar_enc_attn(struct kernels *k);
#if defined(__x86_64__)
void kernels_fill_avx2_enc(struct kernels *k);
void kernels_fill_avx2_enc_attn(struct kernels *k);
void kernels_fill_avxvnni_enc(struct kernels *k);
void kernels_fill_avx512_enc(struct kernels *k);
void kernels_fill_avx512_enc_attn(struct kernels *k);
#elif defined(__aarch64__)
void kernels_fill_neon_enc(struct kernels *k);
#endif

#endif
