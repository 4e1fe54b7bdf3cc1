/* Products of one to a few tokens with packed strips, as they come from memory: see kernels.h.
 *
 * A token alone waits for memory: a core has 48 lines under way between its second-level cache and
 * memory, and reads as fast as it keeps all of them busy. So each line is asked for twice: into the
 * second-level cache a whole strip ahead, in the order of addresses and across the seam between
 * strips, which makes one stream of values and factors; and into the first level NEAR bytes ahead.
 * An Emerald Rapids core then reads Q4_K at 96 % of the speed of a plain sum over the same bytes,
 * where one request into the first level 3 KB ahead gave 83 %: each strip began with lines that
 * nobody had asked for, in two places. Rejected: the far request alone (91 %) or into the third
 * level (90 %); into the first level (77 %); every second line, for the neighbour to come along
 * (75 %); NEAR of 512 bytes (94 %), 3 or 4 KB (95 %); a strip and 4 or 16 KB ahead (95 %). */
#if defined(__x86_64__)
#include "tensor/kernels_mul_512.h"
#include "tensor/kernels_x86.h"

enum { NEAR = 2048, NEAR_FACTORS = 512 };

/* Bytes of a group, with its share of what stands once in a super-block. */
INLINE size_t group_bytes(const struct packed f)
{
    const size_t units = f.super ? (size_t)(f.has_min ? 4 : 2) * STRIP_ROWS : 0;
    return (size_t)f.bits * 64 + group_factor_bytes(f) + units / SUPER_GROUPS;
}

/* What is asked for in a group: its share of the next strip, and the near lines. */
INLINE void ask(const struct packed f, const uint8_t *next, const uint8_t *v,
                const uint8_t *factors)
{
    const int lines = (int)((group_bytes(f) + 63) / 64);
#pragma GCC unroll 12
    for (int k = 0; k < lines; k++) {
        _mm_prefetch((const char *)next + k * 64, _MM_HINT_T1);
    }
#pragma GCC unroll 8
    for (int k = 0; k < f.bits; k++) {
        _mm_prefetch((const char *)v + NEAR + k * 64, _MM_HINT_T0);
    }
    _mm_prefetch((const char *)factors + NEAR_FACTORS, _MM_HINT_T0);
}

/* Where token t's accumulators of a group start: init has the correction for an offset of 128. */
INLINE __m512i start(const struct packed f, const int32_t *init)
{
    const int shift = f.table ? 0 : 8 - f.bits;
    const bool zero = f.super && f.has_min;
    return _mm512_set1_epi32(zero ? ACC_BIAS_BITS
                                  : ACC_BIAS_BITS - ((ACC_BIAS_BITS - *init) >> shift));
}

/* NT tokens times a packed strip. One token to three have two chains of dot products each: columns
 * 0-15 and 16-31. */
INLINE void few(const int NT, const struct packed f, const struct strip *w,
                const struct act_panel *x, int t0, float *out)
{
    const int chains = f.halves == 2 || NT < 4 ? 2 : 1;
    const size_t nt = (size_t)x->nt;
    const uint8_t *v = w->values, *factors = w->factors, *next = w->next ? w->next : v;
    __m512 unit = _mm512_setzero_ps(), min_unit = unit, y[FEW_TOKENS];
#pragma GCC unroll 8
    for (int t = 0; t < NT; t++) {
        y[t] = _mm512_setzero_ps();
    }
    for (size_t g = 0; g < x->groups; g++, v += f.bits * 64, next += group_bytes(f)) {
        factors = super_units(f, factors, g, &unit, &min_unit);
        const struct act_group a = act_group(x, g);
        const int8_t *q = a.q + 4 * t0;
        const int32_t *init = (f.halves == 1 ? a.init : a.half_init) + (size_t)t0;
        __m512i acc[2][FEW_TOKENS];
#pragma GCC unroll 8
        for (size_t t = 0; t < (size_t)NT; t++) {
            acc[0][t] = start(f, init + t);
            acc[1][t] = f.halves == 1 ? _mm512_setzero_si512() : start(f, init + nt + t);
        }
        ask(f, next, v, factors);
#pragma GCC unroll 8
        for (int k = 0; k < 8; k++) {
            const int i = k / chains + k % chains * 4; /* the chains take turns */
            const __m512i quad = load_quad(f, v, i);
#pragma GCC unroll 8
            for (size_t t = 0; t < (size_t)NT; t++) {
                DPBUSD(acc[k % chains][t], quad, broadcast(q + ((size_t)i * nt + t) * 4));
            }
        }
#pragma GCC unroll 2
        for (int h = 0; h < f.halves; h++) {
            const __m512 scale = load_factor(f, factors, h, unit);
            const __m512 min = f.has_min ? load_factor(f, factors, f.halves + h, min_unit) : scale;
            const float *sums = (f.halves == 1 ? a.xsum : a.half_xsum + (size_t)h * nt) + t0;
#pragma GCC unroll 8
            for (int t = 0; t < NT; t++) {
                const __m512i dot = chains == 2 && f.halves == 1
                                        ? _mm512_add_epi32(acc[0][t], acc[1][t])
                                        : acc[h][t];
                y[t] = _mm512_fmadd_ps(unbias(dot, a.xs[t0 + t], a.bias_xs[t0 + t]), scale, y[t]);
                if (f.has_min) {
                    y[t] = _mm512_fmadd_ps(min, _mm512_set1_ps(sums[t]), y[t]);
                }
            }
        }
        factors += group_factor_bytes(f);
    }
#pragma GCC unroll 8
    for (int t = 0; t < NT; t++) {
        _mm512_storeu_ps(out + t * 32, y[t]);
    }
}

#define CASE_TOKENS(n)            \
    case n:                       \
        few(n, f, w, x, t0, out); \
        return;
#define DEFINE_FEW(name, bits, halves, min, table, super)                                   \
    static void few_##name(const struct strip *w, const struct act_panel *x, int t0, int n, \
                           float *out)                                                      \
    {                                                                                       \
        const struct packed f = {bits, halves, min, table, super};                          \
        switch (n) {                                                                        \
            CASE_TOKENS(1)                                                                  \
            CASE_TOKENS(2)                                                                  \
            CASE_TOKENS(3)                                                                  \
            CASE_TOKENS(4)                                                                  \
            CASE_TOKENS(5)                                                                  \
            CASE_TOKENS(6)                                                                  \
            CASE_TOKENS(7)                                                                  \
            CASE_TOKENS(8)                                                                  \
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
