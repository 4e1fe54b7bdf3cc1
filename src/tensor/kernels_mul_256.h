/* Products of packed integers in 256-bit registers: the body of kernels_mul_avx2.c and
 * kernels_mul_avxvnni.c, which define DOT before including it:
 *   DOT_SMALL(acc, w, x)  acc += w . x for unsigned w <= 63
 *   DOT_WIDE(acc, w, x)   acc += (w - WIDE_OFFSET) . x for w = v + WIDE_OFFSET
 * where a register holds 8 rows of 4 columns, and x the 4 columns of a token in every lane.
 *
 * A tile is the 16 rows of a strip (two registers) by up to 4 tokens: 8 accumulators and their
 * operands fit 16 registers. Float sums live in the output. */
#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum { TILE_TOKENS = 4 };

INLINE __m256i broadcast(const void *p)
{
    int32_t v;
    memcpy(&v, p, 4);
    return _mm256_set1_epi32(v);
}

INLINE __m256 load_f16x8(const uint8_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

INLINE __m256i load_256(const uint8_t *p)
{
    return _mm256_load_si256((const __m256i *)(const void *)p);
}

/* A packed strip as it is read, or one made ready for mul8: constants of an instance. */
struct packed {
    int bits, halves;
    bool has_min, table, super, ready;
};

/* Quad k (0 .. 7) of a group for rows 8 side .. 8 side + 7, as DOT_SMALL or DOT_WIDE want it. */
INLINE __m256i load_quad(const struct packed f, const uint8_t *group, const int k, int side)
{
    const uint8_t *plane = group + side * 32;
    if (f.bits == 8) {
        __m256i v = load_256(plane + k * 64);
        return WIDE_OFFSET == 128 ? v : _mm256_xor_si256(v, _mm256_set1_epi8(-128));
    }
    __m256i w = _mm256_setzero_si256();
    int pos = 0;
#pragma GCC unroll 3
    for (int p = 4; p; p /= 2) {
        if (f.bits & p) {
            const int left = pos - k / p * p;
            __m256i v = load_256(plane + k % p * 64);
            v = left > 0 ? _mm256_slli_epi16(v, left) : _mm256_srli_epi16(v, -left);
            v = _mm256_and_si256(v, _mm256_set1_epi8((char)(((1 << p) - 1) << pos)));
            w = pos ? _mm256_or_si256(w, v) : v;
            plane += p * 64;
            pos += p;
        }
    }
    if (f.table) {
        __m128i levels = _mm_loadu_si128((const __m128i *)(const void *)iq4_values);
        if (WIDE_OFFSET == 128) {
            levels = _mm_xor_si128(levels, _mm_set1_epi8(-128));
        }
        w = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(levels), w);
    }
    return w;
}

/* Factor i of a group, rows 8 side .. 8 side + 7; units: of the super-block. */
INLINE __m256 load_factor(const struct packed f, const uint8_t *factors, int i, int side,
                          const uint8_t *units)
{
    const int at = i * STRIP_ROWS + 8 * side;
    if (f.ready) {
        return _mm256_castsi256_ps(load_256(factors + 4 * at));
    }
    if (!f.super) {
        return load_f16x8(factors + 2 * at);
    }
    __m256i ints =
        _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(factors + at)));
    __m256 unit = load_f16x8(units + (i < f.halves ? 0 : 2 * STRIP_ROWS) + 16 * side);
    return _mm256_mul_ps(_mm256_cvtepi32_ps(ints), unit);
}

INLINE size_t unit_bytes(const struct packed f)
{
    return f.super && !f.ready ? (size_t)(f.has_min ? 4 : 2) * STRIP_ROWS : 0;
}

INLINE size_t group_factor_bytes(const struct packed f)
{
    const int each = f.ready ? 4 : f.super ? 1 : 2;
    return (size_t)(f.halves * (f.has_min ? 2 : 1) * each * STRIP_ROWS);
}

/* One half group: scales of both sides, then NT tokens. */
INLINE void flush(const int NT, const struct packed f, int h, __m256i acc[2][TILE_TOKENS],
                  const uint8_t *factors, const uint8_t *units, const float *xs, const float *sums,
                  float *out)
{
#pragma GCC unroll 2
    for (int side = 0; side < 2; side++) {
        __m256 scale = load_factor(f, factors, h, side, units);
        __m256 min = f.has_min ? load_factor(f, factors, f.halves + h, side, units) : scale;
#pragma GCC unroll 4
        for (int t = 0; t < NT; t++) {
            float *to = out + t * 32 + side * 8;
            __m256 dot = _mm256_mul_ps(_mm256_cvtepi32_ps(acc[side][t]), _mm256_set1_ps(xs[t]));
            __m256 y = _mm256_fmadd_ps(dot, scale, _mm256_loadu_ps(to));
            if (f.has_min) {
                y = _mm256_fmadd_ps(min, _mm256_set1_ps(sums[t]), y);
            }
            _mm256_storeu_ps(to, y);
        }
    }
}

/* NT tokens from t0 times one strip. */
INLINE void tile(const int NT, const struct packed f, const struct strip *w,
                 const struct act_panel *x, int t0, bool add, float *out)
{
    const size_t nt = (size_t)x->nt, value_bytes = (size_t)f.bits * 64;
    const bool small = f.bits < 8 && !f.table;
    const int offset = !small ? WIDE_OFFSET : f.super && f.has_min ? 0 : 1 << (f.bits - 1);
    const int quads = 8 / f.halves;
    const uint8_t *values = w->values, *factors = w->factors, *units = factors;
#pragma GCC unroll 4
    for (int t = 0; !add && t < NT; t++) {
        memset(out + t * 32, 0, STRIP_ROWS * sizeof *out);
    }
    for (size_t g = 0; g < x->groups; g++, values += value_bytes) {
        if (g % SUPER_GROUPS == 0) {
            units = factors;
            factors += unit_bytes(f);
        }
        const struct act_group a = act_group(x, g);
        const int8_t *q = a.q + 4 * t0;
        _mm_prefetch((const char *)factors + 2048, _MM_HINT_T0);
#pragma GCC unroll 2
        for (int h = 0; h < f.halves; h++) {
            const size_t at = (size_t)h * nt + (size_t)t0;
            const int32_t *init = (f.halves == 1 ? a.init : a.half_init) + at;
            __m256i acc[2][TILE_TOKENS];
#pragma GCC unroll 4
            for (int t = 0; t < NT; t++) { /* init is ACC_BIAS_BITS - 128 * sum */
                acc[0][t] = acc[1][t] = _mm256_set1_epi32(
                    offset ? (init[t] - ACC_BIAS_BITS) / (128 / (offset ? offset : 1)) : 0);
            }
#pragma GCC unroll 8
            for (int k = h * quads; k < (h + 1) * quads; k++, q += 4 * nt) {
                if (k < f.bits) {
                    _mm_prefetch((const char *)values + 2048 + k * 64, _MM_HINT_T0);
                }
#pragma GCC unroll 2
                for (int side = 0; side < 2; side++) {
                    __m256i v = load_quad(f, values, k, side);
#pragma GCC unroll 4
                    for (int t = 0; t < NT; t++) {
                        if (small) {
                            DOT_SMALL(acc[side][t], v, broadcast(q + 4 * t));
                        } else {
                            DOT_WIDE(acc[side][t], v, broadcast(q + 4 * t));
                        }
                    }
                }
            }
            const float *sums = (f.halves == 1 ? a.xsum : a.half_xsum) + at;
            flush(NT, f, h, acc, factors, units, a.xs + t0, sums, out);
        }
        factors += group_factor_bytes(f);
    }
}

/* Groups of a strip for mul8. */
INLINE void unpack_strip(const struct packed f, const struct strip *w, size_t groups,
                         uint8_t *values, float *factors)
{
    const uint8_t *v = w->values, *packed = w->factors, *units = packed;
    const int offset =
        f.table ? 128 - WIDE_OFFSET : 128 - (f.super && f.has_min ? 0 : 1 << (f.bits - 1));
    const __m256i bias = _mm256_set1_epi8((char)offset);
    const int quads = f.bits < 8 ? 16 : 0, n = f.halves * (f.has_min ? 2 : 1);
    for (size_t g = 0; g < groups; g++, v += f.bits * 64) {
        if (g % SUPER_GROUPS == 0) {
            units = packed;
            packed += unit_bytes(f);
        }
#pragma GCC unroll 16
        for (int i = 0; i < quads; i++, values += 32) {
            __m256i quad = _mm256_add_epi8(load_quad(f, v, i / 2, i % 2), bias);
            _mm256_store_si256((__m256i *)(void *)values, quad);
        }
#pragma GCC unroll 4
        for (int i = 0; i < n; i++, factors += STRIP_ROWS) {
            _mm256_store_ps(factors, load_factor(f, packed, i, 0, units));
            _mm256_store_ps(factors + 8, load_factor(f, packed, i, 1, units));
        }
        packed += group_factor_bytes(f);
    }
}

#define DEFINE_TILES(name, ...)                                                                  \
    static void tiles_##name(const struct strip *w, const struct act_panel *x, int t0, int n,    \
                             bool add, float *out)                                               \
    {                                                                                            \
        const struct packed f = {__VA_ARGS__};                                                   \
        for (; n >= TILE_TOKENS; n -= TILE_TOKENS, t0 += TILE_TOKENS, out += TILE_TOKENS * 32) { \
            tile(TILE_TOKENS, f, w, x, t0, add, out);                                            \
        }                                                                                        \
        if (n >= 2) {                                                                            \
            tile(2, f, w, x, t0, add, out);                                                      \
            n -= 2, t0 += 2, out += 64;                                                          \
        }                                                                                        \
        if (n) {                                                                                 \
            tile(1, f, w, x, t0, add, out);                                                      \
        }                                                                                        \
    }
#define DEFINE_PACKED(name, ...)                                                     \
    DEFINE_TILES(name, __VA_ARGS__, false)                                           \
    static void unpack_##name(const struct strip *w, size_t groups, uint8_t *values, \
                              float *factors)                                        \
    {                                                                                \
        const struct packed f = {__VA_ARGS__, false};                                \
        unpack_strip(f, w, groups, values, factors);                                 \
    }
EACH_PACKED(DEFINE_PACKED)
DEFINE_TILES(ready_plain, .bits = 8, .halves = 1, .ready = true)
DEFINE_TILES(ready_min, .bits = 8, .halves = 1, .has_min = true, .ready = true)
DEFINE_TILES(ready_half, .bits = 8, .halves = 2, .ready = true)
DEFINE_TILES(ready_half_min, .bits = 8, .halves = 2, .has_min = true, .ready = true)

#define CASE_FEW(name, ...)                       \
    case PACKED_KEY(__VA_ARGS__):                 \
        tiles_##name(w, x, 0, x->nt, false, out); \
        return;
static void mul_few(const struct strip *w, const struct mat_form *form, const struct act_panel *x,
                    float *out)
{
    switch (form_key(form)) {
        EACH_PACKED(CASE_FEW)
    }
}

#define CASE_UNPACK(name, ...)                     \
    case PACKED_KEY(__VA_ARGS__):                  \
        unpack_##name(w, groups, values, factors); \
        return;
static void unpack(const struct strip *w, const struct mat_form *form, size_t groups,
                   uint8_t *values, float *factors)
{
    switch (form_key(form)) {
        EACH_PACKED(CASE_UNPACK)
    }
}

static void mul8(const struct strip *w, int n_strips, const struct mat_form *form,
                 const struct act_panel *x, bool add, float *out)
{
    for (int s = 0; s < n_strips; s++) {
        if (form->halves == 1) {
            (form->has_min ? tiles_ready_min : tiles_ready_plain)(w + s, x, 0, x->nt, add,
                                                                  out + 16 * s);
        } else {
            (form->has_min ? tiles_ready_half_min : tiles_ready_half)(w + s, x, 0, x->nt, add,
                                                                      out + 16 * s);
        }
    }
}

INLINE void tile16(const int NT, const struct strip *w, const struct act_panel *x, int t0, bool add,
                   float *out)
{
    const size_t nt = (size_t)x->nt, pairs = x->groups * GROUP / 2;
    const int16_t *q = x->q16 + 2 * t0;
#pragma GCC unroll 4
    for (int t = 0; !add && t < NT; t++) {
        memset(out + t * 32, 0, STRIP_ROWS * sizeof *out);
    }
    for (size_t p0 = 0, block = 0; p0 < pairs; p0 += I16_BLOCK / 2, block++) {
        const size_t end = pairs - p0 < I16_BLOCK / 2 ? pairs : p0 + I16_BLOCK / 2;
        __m256i acc[2][TILE_TOKENS];
#pragma GCC unroll 4
        for (int t = 0; t < NT; t++) {
            acc[0][t] = acc[1][t] = _mm256_setzero_si256();
        }
        for (size_t p = p0; p < end; p++, q += 2 * nt) {
            _mm_prefetch((const char *)w->values + p * 64 + 2048, _MM_HINT_T0);
#pragma GCC unroll 2
            for (int side = 0; side < 2; side++) {
                __m256i v = load_256(w->values + p * 64 + side * 32);
#pragma GCC unroll 4
                for (int t = 0; t < NT; t++) {
                    DOT_WORDS(acc[side][t], v, broadcast(q + 2 * t));
                }
            }
        }
#pragma GCC unroll 2
        for (int side = 0; side < 2; side++) {
            const uint8_t *f = w->factors + block * 64 + side * 32;
            __m256 scale = _mm256_castsi256_ps(load_256(f));
#pragma GCC unroll 4
            for (int t = 0; t < NT; t++) {
                float *to = out + t * 32 + side * 8;
                __m256 xs = _mm256_set1_ps(x->xs16[block * nt + (size_t)(t0 + t)]);
                __m256 dot = _mm256_mul_ps(_mm256_cvtepi32_ps(acc[side][t]), xs);
                _mm256_storeu_ps(to, _mm256_fmadd_ps(dot, scale, _mm256_loadu_ps(to)));
            }
        }
    }
}

static void mul16(const struct strip *w, int n_strips, const struct act_panel *x, bool add,
                  float *out)
{
    for (int s = 0; s < n_strips; s++) {
        int t = 0;
        for (; t + TILE_TOKENS <= x->nt; t += TILE_TOKENS) {
            tile16(TILE_TOKENS, w + s, x, t, add, out + t * 32 + 16 * s);
        }
        for (; t < x->nt; t++) {
            tile16(1, w + s, x, t, add, out + t * 32 + 16 * s);
        }
    }
}
