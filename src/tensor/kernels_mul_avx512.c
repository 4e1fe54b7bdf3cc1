/* Products of packed integers with AVX-512 VNNI: see kernels.h for layouts and the definition.
 *
 * Lane r of a register is row r of a strip: no horizontal sums. The main tile is 32 rows (two
 * strips) by 12 tokens: 24 int32 accumulators live in registers, and per quad of columns 2 weight
 * loads and 12 broadcasts feed 24 vpdpbusd. Float sums live in the output tile in the first-level
 * cache; per group an accumulator costs two fused multiply-adds beside its 8 vpdpbusd, because it
 * starts at the bits of ACC_BIAS and needs no conversion: 80 % of the instruction's peak at best.
 *
 * vpdpbusd is one line of assembly: gcc 12 copies and spills the 24 accumulators when they go
 * through the intrinsic, which halves the speed. */
#if defined(__x86_64__)
#include "tensor/pack.h"

#include "tensor/kernels_x86.h"

#include <immintrin.h>
#include <string.h>

#define DPBUSD(acc, w, x) __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(w), "v"(x))
#define DPWSSD(acc, w, x) __asm__("vpdpwssd %2, %1, %0" : "+v"(acc) : "v"(w), "v"(x))
#define FORGET_MEMORY() __asm__ volatile("" ::: "memory")
#define INLINE static inline __attribute__((always_inline))

INLINE __m512i broadcast(const void *p)
{
    int32_t v;
    memcpy(&v, p, 4);
    return _mm512_set1_epi32(v);
}

INLINE __m512 load_f16x16(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

/* fl(dot * xs) of an accumulator that started at ACC_BIAS. */
INLINE __m512 unbias(__m512i acc, float xs, float bias_xs)
{
    return _mm512_fmadd_ps(_mm512_castsi512_ps(acc), _mm512_set1_ps(xs), _mm512_set1_ps(bias_xs));
}

/* NT tokens of a panel times NS strips of bytes. NT, NS, halves and min are constants where this is
 * instantiated. */
INLINE void tile8(const int NT, const int NS, const int halves, const bool has_min,
                  const struct strip *w, const struct act_panel *x, float *out)
{
    const size_t set = STRIP_ROWS * 2, stride = (size_t)halves * (has_min ? 2 : 1) * set;
    const int quads = 8 / halves;
#pragma GCC unroll 12
    for (int t = 0; t < NT; t++) {
#pragma GCC unroll 2
        for (int s = 0; s < NS; s++) {
            _mm512_store_ps(out + t * 32 + s * 16, _mm512_setzero_ps());
        }
    }
    const int8_t *q = x->q;
    for (size_t g = 0; g < x->groups; g++) {
        const float *xs = x->xs + g * (size_t)NT, *bias = x->bias_xs + g * (size_t)NT;
        for (int h = 0; h < halves; h++) {
            const size_t at = (g * (size_t)halves + (size_t)h) * (size_t)NT;
            const int32_t *init = (halves == 1 ? x->init : x->half_init) + at;
            const float *sum = (halves == 1 ? x->xsum : x->half_xsum) + at;
            __m512i acc[2][PANEL_TOKENS];
#pragma GCC unroll 12
            for (int t = 0; t < NT; t++) {
                acc[0][t] = broadcast(init + t);
                if (NS == 2) {
                    acc[1][t] = acc[0][t];
                }
            }
            const size_t value = (g * 8 + (size_t)(h * quads)) * 64;
            for (int k = 0; k < quads; k++, q += 4 * NT) {
                __m512i w0 = _mm512_load_si512(w[0].values + value + (size_t)k * 64), w1 = w0;
                if (NS == 2) {
                    w1 = _mm512_load_si512(w[1].values + value + (size_t)k * 64);
                } else {
                    _mm_prefetch((const char *)w[0].values + value + (size_t)k * 64 + 3072,
                                 _MM_HINT_T0);
                }
#pragma GCC unroll 12
                for (int t = 0; t < NT; t++) {
                    __m512i v = broadcast(q + 4 * t);
                    DPBUSD(acc[0][t], w0, v);
                    if (NS == 2) {
                        DPBUSD(acc[1][t], w1, v);
                    }
                }
            }
            __m512 scale[2], min[2];
#pragma GCC unroll 2
            for (int s = 0; s < NS; s++) {
                const uint8_t *f = w[s].factors + g * stride + (size_t)h * set;
                scale[s] = load_f16x16(f);
                min[s] = has_min ? load_f16x16(f + (size_t)halves * set) : scale[s];
            }
#pragma GCC unroll 12
            for (int t = 0; t < NT; t++) {
                __m512 xs_t = _mm512_set1_ps(xs[t]), bias_t = _mm512_set1_ps(bias[t]);
#pragma GCC unroll 2
                for (int s = 0; s < NS; s++) {
                    float *to = out + t * 32 + s * 16;
                    __m512 y = _mm512_fmadd_ps(_mm512_castsi512_ps(acc[s][t]), xs_t, bias_t);
                    y = _mm512_fmadd_ps(y, scale[s], _mm512_load_ps(to));
                    if (has_min) {
                        y = _mm512_fmadd_ps(min[s], _mm512_set1_ps(sum[t]), y);
                    }
                    _mm512_store_ps(to, y);
                }
            }
            FORGET_MEMORY(); /* or gcc keeps the sums on the stack as well and stores them twice */
        }
    }
}

/* One to four tokens times a strip of nibbles. */
INLINE void tile4(const int NT, const int halves, const bool has_min, const bool table,
                  const struct strip *w, const struct act_panel *x, int t0, float *out)
{
    const size_t set = STRIP_ROWS * 2, stride = (size_t)halves * (has_min ? 2 : 1) * set;
    const size_t nt = (size_t)x->nt;
    const __m512i mask = _mm512_set1_epi8(15);
    const __m512i levels = _mm512_broadcast_i32x4(_mm_xor_si128(
        _mm_loadu_si128((const __m128i *)(const void *)iq4_values), _mm_set1_epi8(-128)));
    const int8_t *q = x->q + 4 * t0;
    const uint8_t *v = w->values, *f = w->factors;
    __m512 y[MUL4_MAX_TOKENS];
#pragma GCC unroll 4
    for (int t = 0; t < NT; t++) {
        y[t] = _mm512_setzero_ps();
    }
    for (size_t g = 0; g < x->groups; g++, v += 256, f += stride, q += 32 * nt) {
        __m512i low[MUL4_MAX_TOKENS], high[MUL4_MAX_TOKENS];
        const size_t at = g * nt + (size_t)t0, half = 2 * g * nt + (size_t)t0;
#pragma GCC unroll 4
        for (size_t t = 0; t < (size_t)NT; t++) {
            /* A nibble is v + 8, a level is value + 128; init has the correction for 128. */
            const int shift = table ? 0 : 4;
            low[t] = _mm512_set1_epi32(ACC_BIAS_BITS -
                                       ((ACC_BIAS_BITS - x->half_init[half + t]) >> shift));
            high[t] = _mm512_set1_epi32(
                halves == 1
                    ? (ACC_BIAS_BITS - x->half_init[half + nt + t]) / -(1 << shift)
                    : ACC_BIAS_BITS - ((ACC_BIAS_BITS - x->half_init[half + nt + t]) >> shift));
        }
        _mm_prefetch((const char *)f + 2048, _MM_HINT_T0);
#pragma GCC unroll 4
        for (size_t k = 0; k < 4; k++) {
            _mm_prefetch((const char *)v + 3072 + k * 64, _MM_HINT_T0);
            __m512i b = _mm512_load_si512(v + k * 64);
            __m512i lo = _mm512_and_si512(b, mask);
            __m512i hi = _mm512_and_si512(_mm512_srli_epi16(b, 4), mask);
            if (table) {
                lo = _mm512_shuffle_epi8(levels, lo);
                hi = _mm512_shuffle_epi8(levels, hi);
            }
#pragma GCC unroll 4
            for (size_t t = 0; t < (size_t)NT; t++) {
                DPBUSD(low[t], lo, broadcast(q + (k * nt + t) * 4));
                DPBUSD(high[t], hi, broadcast(q + ((k + 4) * nt + t) * 4));
            }
        }
        __m512 scale = load_f16x16(f),
               min = has_min ? load_f16x16(f + (size_t)halves * set) : scale;
#pragma GCC unroll 4
        for (size_t t = 0; t < (size_t)NT; t++) {
            float xs = x->xs[at + t], bias = x->bias_xs[at + t];
            if (halves == 1) {
                y[t] = _mm512_fmadd_ps(unbias(_mm512_add_epi32(low[t], high[t]), xs, bias), scale,
                                       y[t]);
                if (has_min) {
                    y[t] = _mm512_fmadd_ps(min, _mm512_set1_ps(x->xsum[at + t]), y[t]);
                }
                continue;
            }
            y[t] = _mm512_fmadd_ps(unbias(low[t], xs, bias), scale, y[t]);
            if (has_min) {
                y[t] = _mm512_fmadd_ps(min, _mm512_set1_ps(x->half_xsum[half + t]), y[t]);
            }
            y[t] = _mm512_fmadd_ps(unbias(high[t], xs, bias), load_f16x16(f + set), y[t]);
            if (has_min) {
                y[t] = _mm512_fmadd_ps(load_f16x16(f + 3 * set),
                                       _mm512_set1_ps(x->half_xsum[half + nt + t]), y[t]);
            }
        }
    }
#pragma GCC unroll 4
    for (int t = 0; t < NT; t++) {
        _mm512_storeu_ps(out + t * 32, y[t]);
    }
}

/* Decoding from bytes: one token, two chains, streamed. */
INLINE void stream8(const int halves, const bool has_min, const struct strip *w,
                    const struct act_panel *x, float *out)
{
    const size_t set = STRIP_ROWS * 2, stride = (size_t)halves * (has_min ? 2 : 1) * set;
    const uint8_t *v = w->values, *f = w->factors;
    const int8_t *q = x->q;
    __m512 y = _mm512_setzero_ps();
    for (size_t g = 0; g < x->groups; g++, v += 512, f += stride, q += 32) {
        __m512i a = _mm512_set1_epi32(x->half_init[2 * g]);
        __m512i b = _mm512_set1_epi32(x->half_init[2 * g + 1]);
        _mm_prefetch((const char *)f + 2048, _MM_HINT_T0);
#pragma GCC unroll 4
        for (size_t k = 0; k < 4; k++) {
            _mm_prefetch((const char *)v + 3072 + k * 64, _MM_HINT_T0);
            _mm_prefetch((const char *)v + 3328 + k * 64, _MM_HINT_T0);
            DPBUSD(a, _mm512_load_si512(v + k * 64), broadcast(q + k * 4));
            DPBUSD(b, _mm512_load_si512(v + 256 + k * 64), broadcast(q + 16 + k * 4));
        }
        __m512 scale = load_f16x16(f),
               min = has_min ? load_f16x16(f + (size_t)halves * set) : scale;
        if (halves == 1) { /* the bias is in both chains once too often */
            __m512i both =
                _mm512_sub_epi32(_mm512_add_epi32(a, b), _mm512_set1_epi32(ACC_BIAS_BITS));
            y = _mm512_fmadd_ps(unbias(both, x->xs[g], x->bias_xs[g]), scale, y);
            if (has_min) {
                y = _mm512_fmadd_ps(min, _mm512_set1_ps(x->xsum[g]), y);
            }
            continue;
        }
        y = _mm512_fmadd_ps(unbias(a, x->xs[g], x->bias_xs[g]), scale, y);
        if (has_min) {
            y = _mm512_fmadd_ps(min, _mm512_set1_ps(x->half_xsum[2 * g]), y);
        }
        y = _mm512_fmadd_ps(unbias(b, x->xs[g], x->bias_xs[g]), load_f16x16(f + set), y);
        if (has_min) {
            y = _mm512_fmadd_ps(load_f16x16(f + 3 * set), _mm512_set1_ps(x->half_xsum[2 * g + 1]),
                                y);
        }
    }
    _mm512_store_ps(out, y);
}

/* int16: the same tiles, pairs of columns, float sums per I16_BLOCK columns. */
INLINE void tile16(const int NT, const int NS, const struct strip *w, const struct act_panel *x,
                   float *out)
{
#pragma GCC unroll 12
    for (int t = 0; t < NT; t++) {
#pragma GCC unroll 2
        for (int s = 0; s < NS; s++) {
            _mm512_store_ps(out + t * 32 + s * 16, _mm512_setzero_ps());
        }
    }
    const size_t pairs = x->groups * GROUP / 2;
    const int16_t *q = x->q16;
    for (size_t p0 = 0, block = 0; p0 < pairs; p0 += I16_BLOCK / 2, block++) {
        const size_t end = pairs - p0 < I16_BLOCK / 2 ? pairs : p0 + I16_BLOCK / 2;
        __m512i acc[2][PANEL_TOKENS];
#pragma GCC unroll 12
        for (int t = 0; t < NT; t++) {
            acc[0][t] = acc[1][t] = _mm512_setzero_si512();
        }
        for (size_t p = p0; p < end; p++, q += 2 * NT) {
            __m512i w0 = _mm512_load_si512(w[0].values + p * 64), w1 = w0;
            if (NS == 2) {
                w1 = _mm512_load_si512(w[1].values + p * 64);
            } else {
                _mm_prefetch((const char *)w[0].values + p * 64 + 3072, _MM_HINT_T0);
            }
#pragma GCC unroll 12
            for (int t = 0; t < NT; t++) {
                __m512i v = broadcast(q + 2 * t);
                DPWSSD(acc[0][t], w0, v);
                if (NS == 2) {
                    DPWSSD(acc[1][t], w1, v);
                }
            }
        }
#pragma GCC unroll 2
        for (int s = 0; s < NS; s++) {
            __m512 scale = _mm512_load_ps(w[s].factors + block * 64);
#pragma GCC unroll 12
            for (int t = 0; t < NT; t++) {
                float *to = out + t * 32 + s * 16;
                __m512 dot = _mm512_mul_ps(_mm512_cvtepi32_ps(acc[s][t]),
                                           _mm512_set1_ps(x->xs[block * (size_t)NT + (size_t)t]));
                _mm512_store_ps(to, _mm512_fmadd_ps(dot, scale, _mm512_load_ps(to)));
            }
        }
    }
}

/* Instances: one function per number of tokens, chosen by a switch. */
#define EACH_NT(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)

#define DEFINE_MUL8(name, halves, has_min)                                                       \
    static void name(const struct strip *w, int n_strips, const struct act_panel *x, float *out) \
    {                                                                                            \
        if (n_strips == 2 && x->nt == PANEL_TOKENS) {                                            \
            tile8(PANEL_TOKENS, 2, halves, has_min, w, x, out);                                  \
            return;                                                                              \
        }                                                                                        \
        for (int s = 0; s < n_strips; s++) {                                                     \
            name##_strip(w + s, x, out + 16 * s);                                                \
        }                                                                                        \
    }
#define CASE8(n)                                 \
    case n:                                      \
        tile8(n, 1, HALVES, HAS_MIN, w, x, out); \
        return;

#define HALVES 1
#define HAS_MIN false
static void mul8_plain_strip(const struct strip *w, const struct act_panel *x, float *out)
{
    switch (x->nt) {
        EACH_NT(CASE8)
    }
}
#undef HAS_MIN
#define HAS_MIN true
static void mul8_min_strip(const struct strip *w, const struct act_panel *x, float *out)
{
    switch (x->nt) {
        EACH_NT(CASE8)
    }
}
#undef HALVES
#define HALVES 2
static void mul8_half_min_strip(const struct strip *w, const struct act_panel *x, float *out)
{
    switch (x->nt) {
        EACH_NT(CASE8)
    }
}
#undef HAS_MIN
#define HAS_MIN false
static void mul8_half_strip(const struct strip *w, const struct act_panel *x, float *out)
{
    switch (x->nt) {
        EACH_NT(CASE8)
    }
}
DEFINE_MUL8(mul8_plain, 1, false)
DEFINE_MUL8(mul8_min, 1, true)
DEFINE_MUL8(mul8_half, 2, false)
DEFINE_MUL8(mul8_half_min, 2, true)

static void mul8(const struct strip *w, int n_strips, const struct mat_form *form,
                 const struct act_panel *x, float *out)
{
    if (x->nt == 1) {
        for (int s = 0; s < n_strips; s++) {
            if (form->halves == 1) {
                form->has_min ? stream8(1, true, w + s, x, out + 16 * s)
                              : stream8(1, false, w + s, x, out + 16 * s);
            } else {
                form->has_min ? stream8(2, true, w + s, x, out + 16 * s)
                              : stream8(2, false, w + s, x, out + 16 * s);
            }
        }
    } else if (form->halves == 1) {
        (form->has_min ? mul8_min : mul8_plain)(w, n_strips, x, out);
    } else {
        (form->has_min ? mul8_half_min : mul8_half)(w, n_strips, x, out);
    }
}

#define CASE4(n, halves, has_min, table)                 \
    case n:                                              \
        tile4(n, halves, has_min, table, w, x, t0, out); \
        return;
#define DEFINE_MUL4(name, halves, has_min, table)                                                 \
    static void name(const struct strip *w, const struct act_panel *x, int t0, int n, float *out) \
    {                                                                                             \
        switch (n) {                                                                              \
            CASE4(1, halves, has_min, table)                                                      \
            CASE4(2, halves, has_min, table)                                                      \
            CASE4(3, halves, has_min, table)                                                      \
            CASE4(4, halves, has_min, table)                                                      \
        }                                                                                         \
    }
DEFINE_MUL4(mul4_plain, 1, false, false)
DEFINE_MUL4(mul4_min, 1, true, false)
DEFINE_MUL4(mul4_half, 2, false, false)
DEFINE_MUL4(mul4_half_min, 2, true, false)
DEFINE_MUL4(mul4_table, 1, false, true)

static void mul4(const struct strip *w, const struct mat_form *form, const struct act_panel *x,
                 int t0, int n, float *out)
{
    if (form->table) {
        mul4_table(w, x, t0, n, out);
    } else if (form->halves == 1) {
        (form->has_min ? mul4_min : mul4_plain)(w, x, t0, n, out);
    } else {
        (form->has_min ? mul4_half_min : mul4_half)(w, x, t0, n, out);
    }
}

#define CASE16(n)                \
    case n:                      \
        tile16(n, 1, w, x, out); \
        return;
static void mul16_strip(const struct strip *w, const struct act_panel *x, float *out)
{
    switch (x->nt) {
        EACH_NT(CASE16)
    }
}

static void mul16(const struct strip *w, int n_strips, const struct act_panel *x, float *out)
{
    if (n_strips == 2 && x->nt == PANEL_TOKENS) {
        tile16(PANEL_TOKENS, 2, w, x, out);
        return;
    }
    for (int s = 0; s < n_strips; s++) {
        mul16_strip(w + s, x, out + 16 * s);
    }
}

static void unpack4(const uint8_t *values, size_t groups, bool table, uint8_t *out)
{
    const __m512i mask = _mm512_set1_epi8(15), bias = _mm512_set1_epi8(120);
    const __m512i levels = _mm512_broadcast_i32x4(_mm_xor_si128(
        _mm_loadu_si128((const __m128i *)(const void *)iq4_values), _mm_set1_epi8(-128)));
    for (size_t g = 0; g < groups; g++, values += 256, out += 512) {
#pragma GCC unroll 4
        for (size_t k = 0; k < 4; k++) {
            __m512i b = _mm512_load_si512(values + k * 64);
            __m512i lo = _mm512_and_si512(b, mask);
            __m512i hi = _mm512_and_si512(_mm512_srli_epi16(b, 4), mask);
            _mm512_store_si512(out + k * 64,
                               table ? _mm512_shuffle_epi8(levels, lo) : _mm512_add_epi8(lo, bias));
            _mm512_store_si512(out + 256 + k * 64,
                               table ? _mm512_shuffle_epi8(levels, hi) : _mm512_add_epi8(hi, bias));
        }
    }
}

static void put(const float *tile, int n, unsigned how, const float *unit, size_t width, float *y,
                size_t ldy)
{
    const bool pairs = how & PUT_PAIRS, adds = how & PUT_ADD;
    const size_t step = pairs ? 64 : 32;
    __mmask16 m0 = (__mmask16)(width >= 16 ? 0xffff : (1u << width) - 1);
    __mmask16 m1 = (__mmask16)(width > 16 ? (1u << (width - 16)) - 1 : 0);
    __m512 u0 = _mm512_maskz_loadu_ps(m0, unit), u1 = _mm512_maskz_loadu_ps(m1, unit + 16);
    for (int i = 0; i < n; i++, tile += step, y += ldy) {
        __m512 a = _mm512_load_ps(tile), b = _mm512_load_ps(tile + 16);
        if (pairs) {
            a = _mm512_add_ps(a, _mm512_load_ps(tile + 32));
            b = _mm512_add_ps(b, _mm512_load_ps(tile + 48));
        }
        a = _mm512_mul_ps(a, u0);
        b = _mm512_mul_ps(b, u1);
        if (adds) {
            a = _mm512_add_ps(_mm512_maskz_loadu_ps(m0, y), a);
            b = _mm512_add_ps(_mm512_maskz_loadu_ps(m1, y + 16), b);
        }
        _mm512_mask_storeu_ps(y, m0, a);
        _mm512_mask_storeu_ps(y + 16, m1, b);
    }
}

/* 32 floats of a row from column g * 32; zeros past its end. */
INLINE void load_group(const float *x, size_t n, size_t g, __m512 *a, __m512 *b)
{
    size_t left = n - g * GROUP;
    if (left >= GROUP) {
        *a = _mm512_loadu_ps(x + g * GROUP);
        *b = _mm512_loadu_ps(x + g * GROUP + 16);
        return;
    }
    __mmask16 m0 = (__mmask16)(left >= 16 ? 0xffff : (1u << left) - 1);
    __mmask16 m1 = (__mmask16)(left > 16 ? (1u << (left - 16)) - 1 : 0);
    *a = _mm512_maskz_loadu_ps(m0, x + g * GROUP);
    *b = _mm512_maskz_loadu_ps(m1, x + g * GROUP + 16);
}

INLINE __m512i magnitude(__m512 v)
{
    return _mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(0x7fffffff));
}

static void quant8(const float *x, size_t n, struct act_panel *p, int t, size_t g0, size_t g1)
{
    const size_t nt = (size_t)p->nt, token = (size_t)t;
    for (size_t g = g0; g < g1; g++) {
        __m512 a, b;
        load_group(x, n, g, &a, &b);
        uint32_t peak = _mm512_reduce_max_epu32(_mm512_max_epu32(magnitude(a), magnitude(b)));
        float scale = quant_scale(peak, 127), inverse = scale > 0 ? 1 / scale : 0;
        __m512i low = _mm512_setzero_si512(), high = low;
        if (inverse > 0) {
            low = _mm512_cvtps_epi32(_mm512_mul_ps(a, _mm512_set1_ps(inverse)));
            high = _mm512_cvtps_epi32(_mm512_mul_ps(b, _mm512_set1_ps(inverse)));
        }
        _Alignas(32) int8_t bytes[32];
        __m256i both = _mm256_setr_m128i(_mm512_cvtepi32_epi8(low), _mm512_cvtepi32_epi8(high));
        _mm256_store_si256((__m256i *)(void *)bytes, both);
        /* four sums of each half, then one of each */
        __m256i sums = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1), both);
        sums = _mm256_hadd_epi32(sums, sums);
        sums = _mm256_hadd_epi32(sums, sums);
        if (nt == 1) {
            memcpy(p->q + g * 32, bytes, 32);
        } else {
            for (size_t k = 0; k < 8; k++) {
                memcpy(p->q + ((g * 8 + k) * nt + token) * 4, bytes + 4 * k, 4);
            }
        }
        panel_put_sums(p, g * nt + token, 2 * g * nt + token, scale, _mm256_extract_epi32(sums, 0),
                       _mm256_extract_epi32(sums, 4));
    }
}

static void quant16(const float *x, size_t n, struct act_panel *p, int t, size_t g0, size_t g1)
{
    const size_t nt = (size_t)p->nt, token = (size_t)t, per_block = I16_BLOCK / GROUP;
    for (size_t g = g0; g < g1; g += per_block) {
        size_t end = g + per_block < g1 ? g + per_block : g1;
        __m512i peak = _mm512_setzero_si512();
        __m512 a, b;
        for (size_t i = g; i < end; i++) {
            load_group(x, n, i, &a, &b);
            peak = _mm512_max_epu32(peak, _mm512_max_epu32(magnitude(a), magnitude(b)));
        }
        float scale = quant_scale(_mm512_reduce_max_epu32(peak), I16_ACT_MAX);
        float inverse = scale > 0 ? 1 / scale : 0;
        p->xs[g / per_block * nt + token] = scale;
        for (size_t i = g; i < end; i++) {
            load_group(x, n, i, &a, &b);
            __m512i low = _mm512_setzero_si512(), high = low;
            if (inverse > 0) {
                low = _mm512_cvtps_epi32(_mm512_mul_ps(a, _mm512_set1_ps(inverse)));
                high = _mm512_cvtps_epi32(_mm512_mul_ps(b, _mm512_set1_ps(inverse)));
            }
            _Alignas(64) int16_t words[32];
            _mm256_store_si256((__m256i *)(void *)words, _mm512_cvtepi32_epi16(low));
            _mm256_store_si256((__m256i *)(void *)(words + 16), _mm512_cvtepi32_epi16(high));
            for (size_t k = 0; k < 16; k++) {
                memcpy(p->q16 + ((i * 16 + k) * nt + token) * 2, words + 2 * k, 4);
            }
        }
    }
}

void kernels_fill_avx512_mul(struct kernels *k)
{
    k->quant8 = quant8;
    k->quant16 = quant16;
    k->mul4 = mul4;
    k->mul8 = mul8;
    k->mul16 = mul16;
    k->unpack4 = unpack4;
    k->put = put;
}
#endif
