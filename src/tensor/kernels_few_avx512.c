/* Products of one to a few tokens with packed strips, as they come from memory: see kernels.h.
 */
#if defined(__x86_64__)
#include "tensor/kernels_mul_512.h"
#include "tensor/kernels_x86.h"

/* Bytes that values and factors are asked for ahead of the products of few tokens. */
enum { VALUES_AHEAD = 3072, FACTORS_AHEAD = 2048 };

/* One to four tokens times a packed strip, streamed from memory. Two chains of dot products for
 * each token: columns 0-15 and 16-31. */
INLINE void few(const int NT, const struct packed f, const struct strip *w,
                const struct act_panel *x, int t0, float *out)
{
    const size_t nt = (size_t)x->nt;
    const uint8_t *v = w->values, *factors = w->factors;
    __m512 unit = _mm512_setzero_ps(), min_unit = unit, y[FEW_TOKENS];
#pragma GCC unroll 4
    for (int t = 0; t < NT; t++) {
        y[t] = _mm512_setzero_ps();
    }
    for (size_t g = 0; g < x->groups; g++, v += f.bits * 64) {
        factors = super_units(f, factors, g, &unit, &min_unit);
        const struct act_group a = act_group(x, g);
        const int8_t *q = a.q + 4 * t0;
        __m512i acc[2][FEW_TOKENS];
#pragma GCC unroll 4
        for (size_t t = 0; t < (size_t)NT; t++) {
            /* init has the correction for an offset of 128 */
            const int32_t *init = (f.halves == 1 ? a.init : a.half_init) + (size_t)t0 + t;
            const int shift = f.table ? 0 : 8 - f.bits;
            const bool zero = f.super && f.has_min;
            acc[0][t] = _mm512_set1_epi32(
                zero ? ACC_BIAS_BITS : ACC_BIAS_BITS - ((ACC_BIAS_BITS - init[0]) >> shift));
            acc[1][t] = f.halves == 1
                            ? _mm512_setzero_si512()
                            : _mm512_set1_epi32(zero ? ACC_BIAS_BITS
                                                     : ACC_BIAS_BITS -
                                                           ((ACC_BIAS_BITS - init[nt]) >> shift));
        }
        _mm_prefetch((const char *)factors + FACTORS_AHEAD, _MM_HINT_T0);
#pragma GCC unroll 8
        for (int k = 0; k < 8; k++) {
            if (k < f.bits) {
                _mm_prefetch((const char *)v + VALUES_AHEAD + k * 64, _MM_HINT_T0);
            }
        }
#pragma GCC unroll 8
        for (int k = 0; k < 8; k++) {
            const int i = k / 2 + k % 2 * 4; /* the chains take turns */
            const __m512i quad = load_quad(f, v, i);
#pragma GCC unroll 4
            for (size_t t = 0; t < (size_t)NT; t++) {
                DPBUSD(acc[k % 2][t], quad, broadcast(q + ((size_t)i * nt + t) * 4));
            }
        }
#pragma GCC unroll 2
        for (int h = 0; h < f.halves; h++) {
            const __m512 scale = load_factor(f, factors, h, unit);
            const __m512 min = f.has_min ? load_factor(f, factors, f.halves + h, min_unit) : scale;
            const float *sums = (f.halves == 1 ? a.xsum : a.half_xsum + (size_t)h * nt) + t0;
#pragma GCC unroll 4
            for (int t = 0; t < NT; t++) {
                const __m512i dot =
                    f.halves == 1 ? _mm512_add_epi32(acc[0][t], acc[1][t]) : acc[h][t];
                y[t] = _mm512_fmadd_ps(unbias(dot, a.xs[t0 + t], a.bias_xs[t0 + t]), scale, y[t]);
                if (f.has_min) {
                    y[t] = _mm512_fmadd_ps(min, _mm512_set1_ps(sums[t]), y[t]);
                }
            }
        }
        factors += group_factor_bytes(f);
    }
#pragma GCC unroll 4
    for (int t = 0; t < NT; t++) {
        _mm512_storeu_ps(out + t * 32, y[t]);
    }
}

#define DEFINE_FEW(name, bits, halves, min, table, super)                                   \
    static void few_##name(const struct strip *w, const struct act_panel *x, int t0, int n, \
                           float *out)                                                      \
    {                                                                                       \
        const struct packed f = {bits, halves, min, table, super};                          \
        switch (n) {                                                                        \
        case 1:                                                                             \
            few(1, f, w, x, t0, out);                                                       \
            return;                                                                         \
        case 2:                                                                             \
            few(2, f, w, x, t0, out);                                                       \
            return;                                                                         \
        case 3:                                                                             \
            few(3, f, w, x, t0, out);                                                       \
            return;                                                                         \
        case 4:                                                                             \
            few(4, f, w, x, t0, out);                                                       \
            return;                                                                         \
        }                                                                                   \
    }
EACH_PACKED(DEFINE_FEW)

#define CASE_FEW(name, bits, halves, min, table, super) \
    case PACKED_KEY(bits, halves, min, table, super):   \
        few_##name(w, x, t0, n, out);                   \
        return;
static void mul_few(const struct strip *w, const struct mat_form *form, const struct act_panel *x,
                    int t0, int n, float *out)
{
    switch (form_key(form)) {
        EACH_PACKED(CASE_FEW)
    }
}

void kernels_fill_avx512_few(struct kernels *k)
{
    k->mul_few = mul_few;
}
#endif
