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
 *   -1), P by Horner's rule with fma.
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

struct kernels;
void kernels_fill_scalar_enc(struct kernels *k);
#if defined(__x86_64__)
void kernels_fill_avx2_enc(struct kernels *k);
void kernels_fill_avxvnni_enc(struct kernels *k);
void kernels_fill_avx512_enc(struct kernels *k);
#elif defined(__aarch64__)
void kernels_fill_neon_enc(struct kernels *k);
#endif

#endif
