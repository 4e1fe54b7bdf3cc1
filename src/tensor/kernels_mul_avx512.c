/* Products of packed integers with AVX-512 VNNI: see kernels.h for layouts and the definition.
 *
 * Lane r of a register is row r of a strip: no horizontal sums. A tile is 32 rows (two strips) by 8
 * tokens: 16 int32 accumulators and 12 of their 16 float sums live in registers, and per quad of
 * columns 2 weight loads and 8 broadcasts feed 16 vpdpbusd. Per group an accumulator costs two
 * fused multiply-adds beside its 8 vpdpbusd, because it starts at the bits of ACC_BIAS and needs no
 * conversion, and a third with mins: 80 and 73 % of the instruction's peak at best. What the next
 * panel will read is fetched meanwhile, since panels come from the second-level cache.
 *
 * The order of instructions matters as much as their number, since some hundred of them wait in the
 * scheduler: all that counts is a volatile line of assembly, which keeps it; and gcc 12 copies and
 * spills accumulators that go through intrinsics, which halves the speed.
 *
 * Measured on Golden Cove, 18 groups, 43 panels in the second-level cache, without mins / with:
 * this tile 76 / 69 % of the peak (74 / 66 without fetching ahead); 12 tokens with all sums in
 * memory 66 / 65 (stores and loads of sums cost what longer chains gain); two tiles of 6 tokens
 * with sums in registers 72 / 64 (12 chains of a latency of 5 feed two ports to 90 % only); two of
 * 7 tokens 75 / 68; 10 tokens - / 62. Mins as a product of their own, at one multiply-add of 16
 * lanes a group or half of one as int16, would gain 0 to 5 % of this function. Rejected as well: 6
 * x 64 and 8 x 48 tiles of 24 accumulators. */
#if defined(__x86_64__)
#include "tensor/kernels_mul_512.h"
#include "tensor/kernels_x86.h"

#include <math.h>
#include <string.h>

#define DPWSSD(acc, w, x) __asm__ volatile("vpdpwssd %2, %1, %0" : "+v"(acc) : "v"(w), "v"(x))
/* In assembly like the products, so that they stay where they are written: v = *p; v = *p in every
 * lane; a = a * x + *b; y += a * x; a = a * x + *y; y += m * *x. x and b are broadcast from p. */
#define LOAD(v, p) __asm__ volatile("vmovaps %1, %0" : "=v"(v) : "m"(*(const __m512 *)(p)))
#define LOAD_EACH(v, p) __asm__ volatile("vpbroadcastd %1, %0" : "=v"(v) : "m"(*(p)))
#define UNBIAS(a, x, b) \
    __asm__ volatile("vfmadd213ps %2%{1to16%}, %1, %0" : "+v"(a) : "v"(x), "m"(*(b)))
#define ADD_SCALED(y, a, x) __asm__ volatile("vfmadd231ps %2, %1, %0" : "+v"(y) : "v"(a), "v"(x))
#define SCALE_ADD(a, x, y) \
    __asm__ volatile("vfmadd213ps %2, %1, %0" : "+v"(a) : "v"(x), "m"(*(const __m512 *)(y)))
#define ADD_MIN(y, m, x) \
    __asm__ volatile("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(y) : "v"(m), "m"(*(x)))
#define STORE(p, v) __asm__ volatile("vmovaps %1, %0" : "=m"(*(__m512 *)(p)) : "v"(v))

/* Bytes that values and factors are asked for ahead of unpacking. */
enum { VALUES_AHEAD = 3072, FACTORS_AHEAD = 2048 };

/* Float sums of a tile in registers: the first HELD of [8 tokens][2 strips]. */
enum { HELD = 12, SUMS = 2 * PANEL_TOKENS };

/* What is asked for of the next strips, in whole lines at each of some steps. */
struct asked {
    const uint8_t *at, *end;
    size_t rate;
};

INLINE struct asked asked_of(const struct strip *w, size_t steps)
{
    const uint8_t *at = w->next_bytes ? w->next : w->values;
    return (struct asked){at, at + ((w->next_bytes + 63) & ~(size_t)63),
                          (w->next_bytes / steps + 64) & ~(size_t)63};
}

INLINE void ask(struct asked *a)
{
    const uint8_t *to = (size_t)(a->end - a->at) < a->rate ? a->end : a->at + a->rate;
    for (; a->at < to; a->at += 64) {
        _mm_prefetch((const char *)a->at, _MM_HINT_T1);
    }
}

INLINE void zero_tile(const int NT, float *out)
{
#pragma GCC unroll 16
    for (int i = 0; i < 2 * NT; i++) {
        _mm512_store_ps(out + i * 16, _mm512_setzero_ps());
    }
}

/* Accumulators [2 t + strip] of a group, or of half of one, to the float sums. xs: scales of the
 * panel's NT tokens, then their biases; s, m: scales and mins of a strip's rows; sums: of x. */
INLINE void add_group(const int NT, const bool has_min, __m512i *acc, const float *xs,
                      const float *const s[2], const float *const m[2], const float *sums,
                      __m512 *y, float *out)
{
    __m512 scale[2], min[2];
    LOAD(scale[0], s[0]);
    LOAD(scale[1], s[1]);
    if (has_min) {
        LOAD(min[0], m[0]);
        LOAD(min[1], m[1]);
    }
#pragma GCC unroll 8
    for (int t = 0; t < NT; t++) {
        __m512 unit;
        LOAD_EACH(unit, xs + t);
        __m512 d[2] = {_mm512_castsi512_ps(acc[2 * t]), _mm512_castsi512_ps(acc[2 * t + 1])};
        UNBIAS(d[0], unit, xs + NT + t);
        UNBIAS(d[1], unit, xs + NT + t);
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
            const int i = 2 * t + j;
            if (i < HELD) {
                ADD_SCALED(y[i], d[j], scale[j]);
            } else {
                SCALE_ADD(d[j], scale[j], out + i * STRIP_ROWS);
            }
        }
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
            const int i = 2 * t + j;
            if (has_min && i < HELD) {
                ADD_MIN(y[i], min[j], sums + t);
            } else if (has_min) {
                ADD_MIN(d[j], min[j], sums + t);
            }
            if (i >= HELD) {
                STORE(out + i * STRIP_ROWS, d[j]);
            }
        }
    }
}

/* A panel of NT tokens times two strips of bytes. NT, halves and min are constants where this is
 * instantiated. */
INLINE void tile8(const int NT, const int halves, const bool has_min, const struct strip *w,
                  const struct act_panel *x, bool add, float *out)
{
    const size_t stride = (size_t)halves * (has_min ? 2 : 1) * STRIP_ROWS;
    const int quads = 8 / halves, held = 2 * NT < HELD ? 2 * NT : HELD;
    const uint8_t *v0 = w[0].values, *v1 = w[1].values;
    const float *f0 = (const float *)(const void *)w[0].factors;
    const float *f1 = (const float *)(const void *)w[1].factors;
    const uint8_t *q = x->bytes, *half = x->halves;
    const ptrdiff_t next = x->next ? x->next - x->bytes : 0;
    struct asked ahead = asked_of(w, x->groups);
    __m512 y[HELD];
    if (!add) {
        zero_tile(NT, out);
    }
#pragma GCC unroll 12
    for (int i = 0; i < held; i++) {
        y[i] = _mm512_load_ps(out + i * STRIP_ROWS);
    }
    for (size_t g = 0; g < x->groups; g++) {
#pragma GCC unroll 8
        for (int i = 0; i < ACT_GROUP_BYTES * NT; i += 64) {
            _mm_prefetch((const char *)q + next + i, _MM_HINT_T0);
        }
        ask(&ahead);
        const float *xs = (const float *)(const void *)(q + 32 * NT);
#pragma GCC unroll 2
        for (int h = 0; h < halves; h++) {
            const int32_t *init =
                (const int32_t *)(const void *)(halves == 1 ? q + 40 * NT : half + h * 4 * NT);
            const float *sums =
                (const float *)(const void *)(halves == 1 ? q + 44 * NT : half + (8 + h * 4) * NT);
            __m512i acc[SUMS];
#pragma GCC unroll 8
            for (int t = 0; t < NT; t++) {
                LOAD_EACH(acc[2 * t], init + t);
                acc[2 * t + 1] = acc[2 * t];
            }
#pragma GCC unroll 1
            for (int k = h * quads; k < (h + 1) * quads; k++) {
                __m512i w0 = _mm512_load_si512(v0 + k * 64), w1 = _mm512_load_si512(v1 + k * 64);
#pragma GCC unroll 8
                for (int t = 0; t < NT; t++) {
                    __m512i v;
                    LOAD_EACH(v, (const int32_t *)(const void *)q + k * NT + t);
                    DPBUSD(acc[2 * t], w0, v);
                    DPBUSD(acc[2 * t + 1], w1, v);
                }
            }
            const float *const s[2] = {f0 + h * STRIP_ROWS, f1 + h * STRIP_ROWS};
            const float *const m[2] = {s[0] + halves * STRIP_ROWS, s[1] + halves * STRIP_ROWS};
            add_group(NT, has_min, acc, xs, s, m, sums, y, out);
        }
        v0 += 512, v1 += 512, f0 += stride, f1 += stride;
        q += ACT_GROUP_BYTES * NT, half += ACT_HALVES_BYTES * NT;
    }
#pragma GCC unroll 12
    for (int i = 0; i < held; i++) {
        _mm512_store_ps(out + i * STRIP_ROWS, y[i]);
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
    struct asked ahead = asked_of(w, pairs / 8);
    for (size_t p0 = 0, block = 0; p0 < pairs; p0 += I16_BLOCK / 2, block++) {
        const size_t end = pairs - p0 < I16_BLOCK / 2 ? pairs : p0 + I16_BLOCK / 2;
        __m512i acc[2][PANEL_TOKENS];
#pragma GCC unroll 8
        for (int t = 0; t < NT; t++) {
            acc[0][t] = acc[1][t] = _mm512_setzero_si512();
        }
        for (size_t p = p0; p < end; p++, q += 2 * NT) {
            if (p % 8 == 0) {
                ask(&ahead);
            }
            __m512i w0 = _mm512_load_si512(w[0].values + p * 64);
            __m512i w1 = _mm512_load_si512(w[1].values + p * 64);
            if (NT < PANEL_TOKENS - 1) { /* perhaps the only panel: weights come from memory */
                _mm_prefetch((const char *)w[0].values + p * 64 + 3072, _MM_HINT_T0);
                _mm_prefetch((const char *)w[1].values + p * 64 + 3072, _MM_HINT_T0);
            }
#pragma GCC unroll 8
            for (int t = 0; t < NT; t++) {
                __m512i v = broadcast(q + 2 * t);
                DPWSSD(acc[0][t], w0, v);
                DPWSSD(acc[1][t], w1, v);
            }
        }
#pragma GCC unroll 2
        for (int s = 0; s < 2; s++) {
            __m512 scale = _mm512_load_ps(w[s].factors + block * 64);
#pragma GCC unroll 8
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
#define EACH_NT(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8)

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

/* One strip is multiplied twice: that happens at the end of a matrix only. Two are not copied:
 * what was just written field by field and is read by the vector waits until all stores before it
 * are done, some 120 cycles of a tile's 1,700. */
static const struct strip *two_strips(const struct strip *w, int n_strips, struct strip *twice)
{
    if (n_strips == 2) {
        return w;
    }
    twice[0] = twice[1] = w[0];
    return twice;
}

static void mul8(const struct strip *w, int n_strips, const struct mat_form *form,
                 const struct act_panel *x, bool add, float *out)
{
    struct strip twice[2];
    w = two_strips(w, n_strips, twice);
    if (form->halves == 1) {
        (form->has_min ? mul8_min : mul8_plain)(w, x, add, out);
    } else {
        (form->has_min ? mul8_half_min : mul8_half)(w, x, add, out);
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

#define CASE16(n)                  \
    case n:                        \
        tile16(n, w, x, add, out); \
        return;
static void mul16(const struct strip *w, int n_strips, const struct act_panel *x, bool add,
                  float *out)
{
    struct strip twice[2];
    w = two_strips(w, n_strips, twice);
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
    k->asks = true;
    k->unpack = unpack;
    k->wide_bytes = 1;
    k->put = put;
}
#endif
