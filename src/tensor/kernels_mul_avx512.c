/* Products of packed integers with AVX-512 VNNI: see kernels.h for layouts and the definition.
 *
 * Lane r of a register is row r of a strip: no horizontal sums. The main tile is 32 rows (two
 * strips) by 12 tokens: 24 int32 accumulators live in registers, and per quad of columns 2 weight
 * loads and 12 broadcasts feed 24 vpdpbusd. Float sums live in the output tile in the first-level
 * cache; per group an accumulator costs two fused multiply-adds beside its 8 vpdpbusd, because it
 * starts at the bits of ACC_BIAS and needs no conversion: 80 % of the instruction's peak at best.
 *
 * The order of instructions matters as much as their number, since some hundred of them wait in the
 * scheduler: scales are converted before the dot products of their group, not after, or the
 * multiply-adds queue behind the conversion (74 % of the peak instead of 64 from the cache on
 * Golden Cove). vpdpbusd is one volatile line of assembly, which keeps that order: and gcc 12
 * copies and spills the 24 accumulators when they go through the intrinsic, which halves the speed.
 * Without mins two tiles of 6 tokens whose sums stay in registers are better: 72 % of the peak for
 * 67 with one scale a group, 63 for 52 with two; with mins they are not (66 for 70). Rejected: 6 x
 * 64 and 8 x 48 tiles (the same speed); a quad of the 6-token tile in one piece of assembly,
 * without gcc's copies of accumulators, which cost nothing (66 %); all multiply-adds by scale
 * before the first store (62 %). Without its stores the 12-token tile would reach 75 %. */
#if defined(__x86_64__)
#include "tensor/kernels_mul_512.h"
#include "tensor/kernels_x86.h"

#include <math.h>
#include <string.h>

#define DPWSSD(acc, w, x) __asm__ volatile("vpdpwssd %2, %1, %0" : "+v"(acc) : "v"(w), "v"(x))
/* a = a * x + *b, and y += a * s; *b is broadcast. In assembly like the rest, so that they stay
 * where they are written. */
#define UNBIAS(a, x, b) \
    __asm__ volatile("vfmadd213ps %2%{1to16%}, %1, %0" : "+v"(a) : "v"(x), "m"(*(b)))
#define ADD_SCALED(y, a, s) __asm__ volatile("vfmadd231ps %2, %1, %0" : "+v"(y) : "v"(a), "v"(s))
#define IN_PLACE(v) __asm__ volatile("" : "+v"(v)) /* computed here, not where it is used */

/* Bytes that values and factors are asked for ahead of unpacking. */
enum { VALUES_AHEAD = 3072, FACTORS_AHEAD = 2048 };

#define FORGET_MEMORY() __asm__ volatile("" ::: "memory")

enum { NARROW_TOKENS = PANEL_TOKENS / 2 };

INLINE void zero_tile(const int NT, float *out)
{
#pragma GCC unroll 24
    for (int i = 0; i < 2 * NT; i++) {
        _mm512_store_ps(out + i * 16, _mm512_setzero_ps());
    }
}

/* Quads of columns of a group times two strips. */
INLINE void dot_quads(const int NT, const int quads, const uint8_t *v0, const uint8_t *v1,
                      const uint8_t *q, __m512i *a, __m512i *b)
{
#pragma GCC unroll 1
    for (int k = 0; k < quads; k++, v0 += 64, v1 += 64, q += 4 * NT) {
        __m512i w0 = _mm512_load_si512(v0), w1 = _mm512_load_si512(v1);
        if (NT < PANEL_TOKENS - 1) { /* perhaps the only panel: weights come from memory */
            _mm_prefetch((const char *)v0 + 3072, _MM_HINT_T0);
            _mm_prefetch((const char *)v1 + 3072, _MM_HINT_T0);
        }
#pragma GCC unroll 12
        for (int t = 0; t < NT; t++) {
            __m512i x = broadcast(q + 4 * t);
            DPBUSD(a[t], w0, x);
            DPBUSD(b[t], w1, x);
        }
    }
}

/* NT tokens of a panel times two strips of bytes. NT, halves and min are constants where this is
 * instantiated. */
INLINE void tile8(const int NT, const int halves, const bool has_min, const struct strip *w,
                  const struct act_panel *x, bool add, float *out)
{
    const size_t stride = (size_t)halves * (has_min ? 2 : 1) * STRIP_ROWS;
    const int quads = 8 / halves;
    const uint8_t *v0 = w[0].values, *v1 = w[1].values;
    const float *f0 = (const float *)(const void *)w[0].factors;
    const float *f1 = (const float *)(const void *)w[1].factors;
    const uint8_t *q = x->bytes, *half = x->halves;
    if (!add) {
        zero_tile(NT, out);
    }
    for (size_t g = 0; g < x->groups; g++) {
        const float *xs = (const float *)(const void *)(q + 32 * NT);
        for (int h = 0; h < halves; h++) {
            const uint8_t *init = halves == 1 ? q + 40 * NT : half + h * 4 * NT;
            const uint8_t *sums = halves == 1 ? q + 44 * NT : half + 8 * NT + h * 4 * NT;
            const __m512 s0 = _mm512_load_ps(f0 + h * STRIP_ROWS);
            const __m512 s1 = _mm512_load_ps(f1 + h * STRIP_ROWS);
            __m512i a[PANEL_TOKENS], b[PANEL_TOKENS];
#pragma GCC unroll 12
            for (int t = 0; t < NT; t++) {
                a[t] = broadcast(init + 4 * t);
                b[t] = a[t];
            }
            const size_t value = (size_t)(h * quads) * 64;
            dot_quads(NT, quads, v0 + value, v1 + value, q + h * quads * 4 * NT, a, b);
            __m512 m0 = s0, m1 = s1;
            if (has_min) {
                m0 = _mm512_load_ps(f0 + (halves + h) * STRIP_ROWS);
                m1 = _mm512_load_ps(f1 + (halves + h) * STRIP_ROWS);
            }
#pragma GCC unroll 12
            for (int t = 0; t < NT; t++) {
                const float *sum = (const float *)(const void *)sums + t;
                float *to = out + t * 32;
                __m512 y0 = unbias(a[t], xs[t], xs[NT + t]), y1 = unbias(b[t], xs[t], xs[NT + t]);
                y0 = _mm512_fmadd_ps(y0, s0, _mm512_load_ps(to));
                y1 = _mm512_fmadd_ps(y1, s1, _mm512_load_ps(to + 16));
                if (has_min) {
                    y0 = _mm512_fmadd_ps(m0, _mm512_set1_ps(*sum), y0);
                    y1 = _mm512_fmadd_ps(m1, _mm512_set1_ps(*sum), y1);
                }
                _mm512_store_ps(to, y0);
                _mm512_store_ps(to + 16, y1);
                FORGET_MEMORY(); /* or gcc keeps the sums on the stack as well */
            }
        }
        v0 += 512, v1 += 512, f0 += stride, f1 += stride;
        q += ACT_GROUP_BYTES * NT, half += ACT_HALVES_BYTES * NT;
    }
}

/* Without mins: NT tokens from t0 on of a panel of PT. Their float sums stay in registers, since 24
 * stores per group cost more here than 12 accumulators too few. */
INLINE void narrow8(const int NT, const int PT, const int t0, const int halves,
                    const struct strip *w, const struct act_panel *x, bool add, float *out)
{
    const int quads = 8 / halves, stride = halves * STRIP_ROWS;
    const uint8_t *v0 = w[0].values, *v1 = w[1].values;
    const float *f0 = (const float *)(const void *)w[0].factors;
    const float *f1 = (const float *)(const void *)w[1].factors;
    const uint8_t *q = x->bytes, *half = x->halves;
    __m512 y0[NARROW_TOKENS], y1[NARROW_TOKENS];
    out += t0 * 32;
#pragma GCC unroll 6
    for (int t = 0; t < NT; t++) {
        y0[t] = add ? _mm512_load_ps(out + t * 32) : _mm512_setzero_ps();
        y1[t] = add ? _mm512_load_ps(out + t * 32 + 16) : _mm512_setzero_ps();
    }
    for (size_t g = 0; g < x->groups; g++) {
        const float *xs = (const float *)(const void *)(q + 32 * PT) + t0;
#pragma GCC unroll 2
        for (int h = 0; h < halves; h++) {
            const uint8_t *init = (halves == 1 ? q + 40 * PT : half + h * 4 * PT) + 4 * t0;
            __m512i a[NARROW_TOKENS], b[NARROW_TOKENS];
#pragma GCC unroll 6
            for (int t = 0; t < NT; t++) {
                a[t] = broadcast(init + 4 * t);
                b[t] = a[t];
            }
            const int first = h * quads;
#pragma GCC unroll 8
            for (int k = first; k < first + quads; k++) {
                __m512i w0 = _mm512_load_si512(v0 + k * 64), w1 = _mm512_load_si512(v1 + k * 64);
#pragma GCC unroll 6
                for (int t = 0; t < NT; t++) {
                    __m512i v = broadcast(q + k * 4 * PT + 4 * (t0 + t));
                    DPBUSD(a[t], w0, v);
                    DPBUSD(b[t], w1, v);
                }
            }
            const __m512 s0 = _mm512_load_ps(f0 + h * STRIP_ROWS);
            const __m512 s1 = _mm512_load_ps(f1 + h * STRIP_ROWS);
#pragma GCC unroll 6
            for (int t = 0; t < NT; t++) {
                __m512 d0 = _mm512_castsi512_ps(a[t]), d1 = _mm512_castsi512_ps(b[t]);
                __m512 unit = _mm512_set1_ps(xs[t]);
                UNBIAS(d0, unit, xs + PT + t);
                UNBIAS(d1, unit, xs + PT + t);
                ADD_SCALED(y0[t], d0, s0);
                ADD_SCALED(y1[t], d1, s1);
            }
        }
        v0 += 512, v1 += 512, f0 += stride, f1 += stride;
        q += ACT_GROUP_BYTES * PT, half += ACT_HALVES_BYTES * PT;
    }
#pragma GCC unroll 6
    for (int t = 0; t < NT; t++) {
        _mm512_store_ps(out + t * 32, y0[t]);
        _mm512_store_ps(out + t * 32 + 16, y1[t]);
    }
}

INLINE void unpack_strip(const struct packed f, const struct strip *w, size_t groups,
                         uint8_t *values, float *factors)
{
    const uint8_t *v = w->values, *packed = w->factors;
    const int offset = f.super && f.has_min ? 0 : 1 << (f.bits - 1);
    const __m512i bias = _mm512_set1_epi8((char)(128 - offset));
    const int quads = f.bits < 8 ? 8 : 0, n = f.halves * (f.has_min ? 2 : 1);
    __m512 unit = _mm512_setzero_ps(), min_unit = unit;
    for (size_t g = 0; g < groups; g++, v += f.bits * 64) {
        packed = super_units(f, packed, g, &unit, &min_unit);
        _mm_prefetch((const char *)packed + FACTORS_AHEAD, _MM_HINT_T0);
#pragma GCC unroll 8
        for (int k = 0; k < quads; k++, values += 64) {
            if (k < f.bits) {
                _mm_prefetch((const char *)v + VALUES_AHEAD + k * 64, _MM_HINT_T0);
            }
            __m512i quad = load_quad(f, v, k);
            _mm512_store_si512(values, f.table ? quad : _mm512_add_epi8(quad, bias));
        }
#pragma GCC unroll 4
        for (int i = 0; i < n; i++, factors += STRIP_ROWS) {
            __m512 to = load_factor(f, packed, i, i < f.halves ? unit : min_unit);
            _mm512_store_ps(factors, to);
        }
        packed += group_factor_bytes(f);
    }
}

/* int16: the same tiles, pairs of columns, float sums per I16_BLOCK columns. BF16 and F16 weights
 * come here too. vdpbf16ps was rejected: on an Emerald Rapids core it does 0.089 T operations a
 * second where vpdpwssd does 0.382 and a float multiply-add 0.178, and activations of 8 bits leave
 * an error of 1.7e-3 of a product (2.4e-3 with F16 weights) where ours leave 4.8e-4 (9.7e-4 where
 * 1 % of the columns are 20 times as large). */
INLINE void tile16(const int NT, const struct strip *w, const struct act_panel *x, bool add,
                   float *out)
{
    if (!add) {
        zero_tile(NT, out);
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
            __m512i w0 = _mm512_load_si512(w[0].values + p * 64);
            __m512i w1 = _mm512_load_si512(w[1].values + p * 64);
            if (NT < PANEL_TOKENS - 1) {
                _mm_prefetch((const char *)w[0].values + p * 64 + 3072, _MM_HINT_T0);
                _mm_prefetch((const char *)w[1].values + p * 64 + 3072, _MM_HINT_T0);
            }
#pragma GCC unroll 12
            for (int t = 0; t < NT; t++) {
                __m512i v = broadcast(q + 2 * t);
                DPWSSD(acc[0][t], w0, v);
                DPWSSD(acc[1][t], w1, v);
            }
        }
#pragma GCC unroll 2
        for (int s = 0; s < 2; s++) {
            __m512 scale = _mm512_load_ps(w[s].factors + block * 64);
#pragma GCC unroll 12
            for (int t = 0; t < NT; t++) {
                float *to = out + t * 32 + s * 16;
                __m512 xs = _mm512_set1_ps(x->xs16[block * (size_t)NT + (size_t)t]);
                __m512 dot = _mm512_mul_ps(_mm512_cvtepi32_ps(acc[s][t]), xs);
                _mm512_store_ps(to, _mm512_fmadd_ps(dot, scale, _mm512_load_ps(to)));
            }
        }
    }
}

/* Instances: one function per number of tokens, chosen by a switch. */
#define EACH_NT(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)

#define CASE8(n)                                   \
    case n:                                        \
        tile8(n, HALVES, HAS_MIN, w, x, add, out); \
        return;
#define DEFINE_MUL8(name)                                                                    \
    static void name(const struct strip *w, const struct act_panel *x, bool add, float *out) \
    {                                                                                        \
        switch (x->nt) {                                                                     \
            EACH_NT(CASE8)                                                                   \
        }                                                                                    \
    }

#define HALVES 1
#define HAS_MIN false
DEFINE_MUL8(mul8_plain)
#undef HAS_MIN
#define HAS_MIN true
DEFINE_MUL8(mul8_min)
#undef HALVES
#define HALVES 2
DEFINE_MUL8(mul8_half_min)
#undef HAS_MIN
#define HAS_MIN false
DEFINE_MUL8(mul8_half)

/* Panels of 10 to 12 tokens, in two parts. */
#define CASE_NARROW(n)                                              \
    case n:                                                         \
        narrow8(((n) + 1) / 2, n, 0, HALVES, w, x, add, out);       \
        narrow8((n) / 2, n, ((n) + 1) / 2, HALVES, w, x, add, out); \
        return;
#define DEFINE_NARROW8(name)                                                                 \
    static void name(const struct strip *w, const struct act_panel *x, bool add, float *out) \
    {                                                                                        \
        switch (x->nt) {                                                                     \
            CASE_NARROW(10)                                                                  \
            CASE_NARROW(11)                                                                  \
            CASE_NARROW(12)                                                                  \
        }                                                                                    \
    }
#undef HALVES
#define HALVES 1
DEFINE_NARROW8(narrow8_plain)
#undef HALVES
#define HALVES 2
DEFINE_NARROW8(narrow8_half)

static void mul8(const struct strip *w, int n_strips, const struct mat_form *form,
                 const struct act_panel *x, bool add, float *out)
{
    /* One strip is multiplied twice: that happens at the end of a matrix only. */
    const struct strip pair[2] = {w[0], w[n_strips - 1]};
    if (x->nt >= 10 && !form->has_min) {
        (form->halves == 1 ? narrow8_plain : narrow8_half)(pair, x, add, out);
    } else if (form->halves == 1) {
        (form->has_min ? mul8_min : mul8_plain)(pair, x, add, out);
    } else {
        (form->has_min ? mul8_half_min : mul8_half)(pair, x, add, out);
    }
}

#define DEFINE_UNPACK(name, bits, halves, min, table, super)                         \
    static void unpack_##name(const struct strip *w, size_t groups, uint8_t *values, \
                              float *factors)                                        \
    {                                                                                \
        const struct packed f = {bits, halves, min, table, super};                   \
        unpack_strip(f, w, groups, values, factors);                                 \
    }
EACH_PACKED(DEFINE_UNPACK)

#define CASE_UNPACK(name, bits, halves, min, table, super) \
    case PACKED_KEY(bits, halves, min, table, super):      \
        unpack_##name(w, groups, values, factors);         \
        return;
static void unpack(const struct strip *w, const struct mat_form *form, size_t groups,
                   uint8_t *values, float *factors)
{
    switch (form_key(form)) {
        EACH_PACKED(CASE_UNPACK)
    }
}

#define CASE16(n)                     \
    case n:                           \
        tile16(n, pair, x, add, out); \
        return;
static void mul16(const struct strip *w, int n_strips, const struct act_panel *x, bool add,
                  float *out)
{
    const struct strip pair[2] = {w[0], w[n_strips - 1]};
    switch (x->nt) {
        EACH_NT(CASE16)
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

void kernels_fill_avx512_mul(struct kernels *k)
{
    k->mul8 = mul8;
    k->mul16 = mul16;
    k->unpack = unpack;
    k->put = put;
}
#endif
