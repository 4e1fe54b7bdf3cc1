/* Products of encoders in plain C: the definition (see kernels_enc.h). */
#include "tensor/kernels.h"

#include <math.h>
#include <string.h>

static int weight_at(int bits, const struct enc_panel *w, size_t row, size_t c)
{
    size_t per = 32 / (size_t)bits;
    const uint8_t *dword = w->values + (c / per * ENC_ROWS + row) * 4;
    int16_t v;
    if (bits == 8) {
        return (int8_t)dword[c % 4];
    }
    memcpy(&v, dword + c % 2 * 2, 2);
    return v;
}

static int token_at(int bits, const struct enc_tokens *x, size_t t, size_t c)
{
    size_t per = 32 / (size_t)bits;
    const uint8_t *dword = x->values + (c / per * (size_t)x->nt + t) * 4;
    int16_t v;
    if (bits == 8) {
        return dword[c % 4];
    }
    memcpy(&v, dword + c % 2 * 2, 2);
    return v;
}

static float gelu_of(float x)
{
    static const float p[] = {ENC_GELU_COEFFICIENTS};
    float c = x > ENC_GELU_LIMIT ? ENC_GELU_LIMIT : x < -ENC_GELU_LIMIT ? -ENC_GELU_LIMIT : x;
    float u = fmaf(c * c, ENC_GELU_TO_U, -1.0f), sum = p[0];
    for (int i = 1; i < ENC_GELU_TERMS; i++) {
        sum = fmaf(sum, u, p[i]);
    }
    return x * fmaf(c, sum, 0.5f);
}

static float gelu8_of(float x)
{
    static const float p[] = {ENC_GELU8_COEFFICIENTS};
    float c = x > ENC_GELU8_LIMIT ? ENC_GELU8_LIMIT : x < -ENC_GELU8_LIMIT ? -ENC_GELU8_LIMIT : x;
    float sum = p[0];
    for (int i = 1; i < ENC_GELU8_TERMS; i++) {
        sum = fmaf(sum, c * c, p[i]);
    }
    return x * fmaf(c, sum, 0.5f);
}

static float mul_one(int bits, const struct enc_panel *w, const struct enc_tokens *x, size_t cols,
                     float bias, size_t row, size_t t)
{
    float y = bias;
    for (size_t b = 0; b < enc_blocks(cols); b++) {
        size_t first = b * ENC_BLOCK, last = first + ENC_BLOCK < cols ? first + ENC_BLOCK : cols;
        int32_t dot = 0;
        for (size_t c = first; c < last; c++) {
            dot += weight_at(bits, w, row, c) * token_at(bits, x, t, c);
        }
        const float *factors = w->factors + b * 2 * ENC_ROWS + row;
        size_t at = b * (size_t)x->nt + t;
        y = fmaf((float)dot, factors[0] * x->scale[at], y);
        if (bits == 8) {
            y = fmaf(factors[ENC_ROWS], x->shift[at], y);
        }
    }
    return y;
}

static void mul(int bits, const struct enc_panel *w, const struct enc_tokens *x, size_t cols,
                const float *bias, bool gelu, size_t width, float *y, size_t ldy)
{
    for (size_t t = 0; t < (size_t)x->nt; t++) {
        for (size_t r = 0; r < width; r++) {
            float v = mul_one(bits, w, x, cols, bias[r], r, t);
            y[t * ldy + r] = !gelu ? v : bits == 8 ? gelu8_of(v) : gelu_of(v);
        }
    }
}

/* Scale and zero point of a block. */
static void choose(int bits, const float *x, size_t n, float *scale, float *inverse, float *zero)
{
    float low = 0, high = 0, bad = 0;
    for (size_t i = 0; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
        bad = fmaf(x[i], 0, bad); /* NaN when anything is not finite */
    }
    float range = bits == 8 ? high - low : -low > high ? -low : high;
    *scale = *inverse = *zero = 0;
    if (bad != 0 || range > 1e30f) {
        *scale = NAN;
    } else if (range > 1e-25f) {
        *scale = range / (bits == 8 ? 255.0f : ENC_ACT16);
        *inverse = 1 / *scale;
        *zero = bits == 8 ? rintf(-low * *inverse) : 0;
    }
}

static void quant_one(int bits, const float *x, size_t n, struct enc_tokens *p, size_t t)
{
    size_t nt = (size_t)p->nt, per = 32 / (size_t)bits, padded = enc_padded(n);
    for (size_t first = 0; first < padded; first += ENC_BLOCK) {
        size_t last = first + ENC_BLOCK < padded ? first + ENC_BLOCK : padded;
        size_t at = first / ENC_BLOCK * nt + t;
        float inverse, zero;
        choose(bits, x + first, (last < n ? last : n) - first, &p->scale[at], &inverse, &zero);
        p->shift[at] = -zero * p->scale[at];
        for (size_t c = first; c < last; c++) {
            float v = rintf(fmaf(c < n && inverse > 0 ? x[c] : 0, inverse, zero));
            uint8_t *dword = p->values + (c / per * nt + t) * 4;
            if (bits == 8) {
                dword[c % 4] = (uint8_t)(v > 255 ? 255 : v < 0 ? 0 : v);
            } else {
                int16_t word = (int16_t)v;
                memcpy(dword + c % 2 * 2, &word, 2);
            }
        }
    }
}

static void quant(int bits, const float *x, size_t ldx, size_t n, struct enc_tokens *p, int t)
{
    for (size_t i = 0; i < ENC_UNIT; i++) {
        quant_one(bits, x + i * ldx, n, p, (size_t)t + i);
    }
}

void kernels_fill_scalar_enc(struct kernels *k)
{
    k->enc = (struct enc_kernels){.mul = mul, .quant = quant};
}
