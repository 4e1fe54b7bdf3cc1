/* Products of one to a few tokens with packed strips, as they come from memory: see kernels.h.
 *
 * A token alone waits for memory: a core reads as fast as it keeps the 48 lines busy that can be
 * under way to its second-level cache. So each line is asked for twice: into the second level a
 * whole strip ahead, in the order of addresses and across the seam between strips, which makes one
 * stream of values and factors; and into the first level NEAR bytes ahead. An Emerald Rapids core
 * then reads Q4_K at 96 % of the speed of a plain sum over the same bytes, where one request into
 * the first level 3 KB ahead gave 83 %: each strip began with lines that nobody had asked for, in
 * two places. Rejected: the far request alone (91 %), or into the third level (90 %); into the
 * first level (77 %); every second line, for the neighbour to come along (75 %); NEAR of 512 bytes
 * (94 %), 3 or 4 KB (95 %); a strip and 4 or 16 KB ahead (95 %).
 *
 * The number of tokens is a constant of each instance, so that a panel is read at constant offsets:
 * from the cache two tokens of Q6_K go at 38 GB/s for 31, eight at 15. Rejected: high nibbles that
 * are not shifted but sixteen times as large (the same speed). One panel is better off here than
 * unpacked for mul8 (8 tokens of 12 layers of a 1B model in Q4_K on two cores 21.6 ms for 29.8),
 * two are as well off (12 tokens 33.5 for 32.0, 16 tokens 37.6 for 37.6), three are not (see
 * ops_mul.c). Rejected: tiles of two packed strips and a panel, unpacked in registers, 115 cycles a
 * pair of groups in Q4_K by measure and 108 by count, beside mul8's 100 and 38 once for unpacking:
 * 8 tokens 22.7 ms, 16 37.0, 24 51.0, which is within 3 % of the better of the two except at 12
 * (29.6), for as many instances again. */
#if defined(__x86_64__)
#include "tensor/kernels_mul_512.h"
#include "tensor/kernels_x86.h"

enum { NEAR = 2048, NEAR_FACTORS = 512, NARROW = 6 };

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
#pragma GCC unroll 8
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

/* Half h of a group is done: acc are its dot products. */
INLINE void scale_half(const int NT, const struct packed f, const struct act_group *a, const int h,
                       const uint8_t *factors, const __m512 unit, const __m512 min_unit,
                       const __m512i *acc, __m512 *y)
{
    const __m512 scale = load_factor(f, factors, h, unit);
    const __m512 min = f.has_min ? load_factor(f, factors, f.halves + h, min_unit) : scale;
    const float *sums = f.halves == 1 ? a->xsum : a->half_xsum + h * NT;
#pragma GCC unroll 8
    for (int t = 0; t < NT; t++) {
        y[t] = _mm512_fmadd_ps(unbias(acc[t], a->xs[t], a->bias_xs[t]), scale, y[t]);
        if (f.has_min) {
            y[t] = _mm512_fmadd_ps(min, _mm512_set1_ps(sums[t]), y[t]);
        }
    }
}

/* One quad of columns. */
INLINE void dot_quad(const int NT, const struct packed f, const uint8_t *v, const int i,
                     const int8_t *q, __m512i *acc)
{
    const __m512i quad = load_quad(f, v, i);
#pragma GCC unroll 8
    for (int t = 0; t < NT; t++) {
        DPBUSD(acc[t], quad, broadcast(q + (i * NT + t) * 4));
    }
}

/* A group for one token to six: two chains of dot products for each, columns 0-15 and 16-31, take
 * turns. */
INLINE void narrow_group(const int NT, const struct packed f, const struct act_group *a,
                         const uint8_t *v, const uint8_t *factors, const __m512 unit,
                         const __m512 min_unit, __m512 *y)
{
    const int32_t *init = f.halves == 1 ? a->init : a->half_init;
    __m512i low[NARROW], high[NARROW];
#pragma GCC unroll 6
    for (int t = 0; t < NT; t++) {
        low[t] = start(f, init + t);
        high[t] = f.halves == 1 ? _mm512_setzero_si512() : start(f, init + NT + t);
    }
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) {
        dot_quad(NT, f, v, k, a->q, low);
        dot_quad(NT, f, v, k + 4, a->q, high);
    }
#pragma GCC unroll 6
    for (int t = 0; t < NT; t++) {
        low[t] = f.halves == 1 ? _mm512_add_epi32(low[t], high[t]) : low[t];
    }
    scale_half(NT, f, a, 0, factors, unit, min_unit, low, y);
    if (f.halves == 2) {
        scale_half(NT, f, a, 1, factors, unit, min_unit, high, y);
    }
}

/* A group for more tokens, a half after the other: one chain for each is enough. */
INLINE void wide_group(const int NT, const struct packed f, const struct act_group *a,
                       const uint8_t *v, const uint8_t *factors, const __m512 unit,
                       const __m512 min_unit, __m512 *y)
{
    const int32_t *init = f.halves == 1 ? a->init : a->half_init;
    const int quads = 8 / f.halves;
#pragma GCC unroll 2
    for (int h = 0; h < f.halves; h++) {
        __m512i acc[PANEL_TOKENS];
#pragma GCC unroll 8
        for (int t = 0; t < NT; t++) {
            acc[t] = start(f, init + h * NT + t);
        }
#pragma GCC unroll 8
        for (int k = h * quads; k < (h + 1) * quads; k++) {
            dot_quad(NT, f, v, k, a->q, acc);
        }
        scale_half(NT, f, a, h, factors, unit, min_unit, acc, y);
    }
}

/* A panel of NT tokens times a packed strip. */
INLINE void few(const int NT, const struct packed f, const struct strip *w,
                const struct act_panel *x, float *out)
{
    const struct act_panel p = {.nt = NT, .bytes = x->bytes, .halves = x->halves};
    const uint8_t *v = w->values, *factors = w->factors, *next = w->next ? w->next : v;
    __m512 unit = _mm512_setzero_ps(), min_unit = unit, y[PANEL_TOKENS];
#pragma GCC unroll 8
    for (int t = 0; t < NT; t++) {
        y[t] = _mm512_setzero_ps();
    }
    for (size_t g = 0; g < x->groups; g++, v += f.bits * 64, next += group_bytes(f)) {
        factors = super_units(f, factors, g, &unit, &min_unit);
        const struct act_group a = act_group(&p, g);
        ask(f, next, v, factors);
        if (NT <= NARROW) {
            narrow_group(NT, f, &a, v, factors, unit, min_unit, y);
        } else {
            wide_group(NT, f, &a, v, factors, unit, min_unit, y);
        }
        factors += group_factor_bytes(f);
    }
#pragma GCC unroll 8
    for (int t = 0; t < NT; t++) {
        _mm512_storeu_ps(out + t * 32, y[t]);
    }
}

#define CASE_TOKENS(n)        \
    case n:                   \
        few(n, f, w, x, out); \
        return;
#define DEFINE_FEW(name, bits, halves, min, table, super)                                \
    static void few_##name(const struct strip *w, const struct act_panel *x, float *out) \
    {                                                                                    \
        const struct packed f = {bits, halves, min, table, super};                       \
        switch (x->nt) {                                                                 \
            EACH_NT(CASE_TOKENS)                                                         \
        }                                                                                \
    }
#define EACH_NT(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8)
EACH_PACKED(DEFINE_FEW)

#define CASE_FEW(name, bits, halves, min, table, super) \
    case PACKED_KEY(bits, halves, min, table, super):   \
        few_##name(w, x, out);                          \
        return;
static void mul_few(const struct strip *w, const struct mat_form *form, const struct act_panel *x,
                    float *out)
{
    switch (form_key(form)) {
        EACH_PACKED(CASE_FEW)
    }
}

void kernels_fill_avx512_few(struct kernels *k)
{
    k->few = 2 * PANEL_TOKENS;
    k->mul_few = mul_few;
}
#endif
