/* Products of packed integers in 256-bit registers: the body of kernels_mul_avx2.c and
 * kernels_mul_avxvnni.c, which define DOT before including it:
 *   DOT_SMALL(acc, w, x)  acc += w . x for unsigned w <= 15
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

/* Quad k (0 .. 7) of a group for rows 8 side .. 8 side + 7, as DOT_SMALL or DOT_WIDE want it. */
INLINE __m256i load_quad(const int bits, const bool table, const uint8_t *group, int k, int side)
{
    if (bits == 8) {
        __m256i v = load_256(group + k * 64 + side * 32);
        return WIDE_OFFSET == 128 ? v : _mm256_xor_si256(v, _mm256_set1_epi8(-128));
    }
    __m256i v = load_256(group + k % 4 * 64 + side * 32);
    v = _mm256_and_si256(k < 4 ? v : _mm256_srli_epi16(v, 4), _mm256_set1_epi8(15));
    if (table) {
        __m128i levels = _mm_loadu_si128((const __m128i *)(const void *)iq4_values);
        if (WIDE_OFFSET == 128) {
            levels = _mm_xor_si128(levels, _mm_set1_epi8(-128));
        }
        v = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(levels), v);
    }
    return v;
}

/* One half group: scales of both sides, then NT tokens. */
INLINE void flush(const int NT, const bool has_min, __m256i acc[2][TILE_TOKENS],
                  const uint8_t *scales, const uint8_t *mins, const float *xs, const float *sums,
                  float *out)
{
#pragma GCC unroll 2
    for (int side = 0; side < 2; side++) {
        __m256 scale = load_f16x8(scales + 16 * side);
        __m256 min = has_min ? load_f16x8(mins + 16 * side) : scale;
#pragma GCC unroll 4
        for (int t = 0; t < NT; t++) {
            float *to = out + t * 32 + side * 8;
            __m256 dot = _mm256_mul_ps(_mm256_cvtepi32_ps(acc[side][t]), _mm256_set1_ps(xs[t]));
            __m256 y = _mm256_fmadd_ps(dot, scale, _mm256_loadu_ps(to));
            if (has_min) {
                y = _mm256_fmadd_ps(min, _mm256_set1_ps(sums[t]), y);
            }
            _mm256_storeu_ps(to, y);
        }
    }
}

/* NT tokens from t0 times one strip. */
INLINE void tile(const int NT, const int bits, const int halves, const bool has_min,
                 const bool table, const struct strip *w, const struct act_panel *x, int t0,
                 bool add, float *out)
{
    const size_t set = STRIP_ROWS * 2, stride = (size_t)halves * (has_min ? 2 : 1) * set;
    const size_t nt = (size_t)x->nt, value_bytes = (size_t)bits * 64;
    const bool small = bits == 4 && !table;
    const int offset = small ? 8 : WIDE_OFFSET, quads = 8 / halves;
#pragma GCC unroll 4
    for (int t = 0; !add && t < NT; t++) {
        memset(out + t * 32, 0, STRIP_ROWS * sizeof *out);
    }
    for (size_t g = 0; g < x->groups; g++) {
        const uint8_t *values = w->values + g * value_bytes, *f = w->factors + g * stride;
        const struct act_group a = act_group(x, g);
        const int8_t *q = a.q + 4 * t0;
        _mm_prefetch((const char *)f + 2048, _MM_HINT_T0);
#pragma GCC unroll 2
        for (int h = 0; h < halves; h++) {
            const size_t at = (size_t)h * nt + (size_t)t0;
            const int32_t *init = (halves == 1 ? a.init : a.half_init) + at;
            __m256i acc[2][TILE_TOKENS];
#pragma GCC unroll 4
            for (int t = 0; t < NT; t++) { /* init is ACC_BIAS_BITS - 128 * sum */
                acc[0][t] = acc[1][t] = _mm256_set1_epi32(
                    offset ? (init[t] - ACC_BIAS_BITS) / (128 / (offset ? offset : 1)) : 0);
            }
#pragma GCC unroll 8
            for (int k = h * quads; k < (h + 1) * quads; k++, q += 4 * nt) {
                if (k % (8 / (bits / 4)) == 0) {
                    _mm_prefetch((const char *)values + 2048 + k % 4 * 64, _MM_HINT_T0);
                }
#pragma GCC unroll 2
                for (int side = 0; side < 2; side++) {
                    __m256i v = load_quad(bits, table, values, k, side);
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
            const float *sums = (halves == 1 ? a.xsum : a.half_xsum) + at;
            flush(NT, has_min, acc, f + (size_t)h * set, f + (size_t)(halves + h) * set, a.xs + t0,
                  sums, out);
        }
    }
}

#define DEFINE_TILES(name, bits, halves, has_min, table)                                         \
    static void name(const struct strip *w, const struct act_panel *x, int t0, int n, bool add,  \
                     float *out)                                                                 \
    {                                                                                            \
        for (; n >= TILE_TOKENS; n -= TILE_TOKENS, t0 += TILE_TOKENS, out += TILE_TOKENS * 32) { \
            tile(TILE_TOKENS, bits, halves, has_min, table, w, x, t0, add, out);                 \
        }                                                                                        \
        if (n >= 2) {                                                                            \
            tile(2, bits, halves, has_min, table, w, x, t0, add, out);                           \
            n -= 2, t0 += 2, out += 64;                                                          \
        }                                                                                        \
        if (n) {                                                                                 \
            tile(1, bits, halves, has_min, table, w, x, t0, add, out);                           \
        }                                                                                        \
    }
DEFINE_TILES(tiles4_plain, 4, 1, false, false)
DEFINE_TILES(tiles4_min, 4, 1, true, false)
DEFINE_TILES(tiles4_half, 4, 2, false, false)
DEFINE_TILES(tiles4_half_min, 4, 2, true, false)
DEFINE_TILES(tiles4_table, 4, 1, false, true)
DEFINE_TILES(tiles8_plain, 8, 1, false, false)
DEFINE_TILES(tiles8_min, 8, 1, true, false)
DEFINE_TILES(tiles8_half, 8, 2, false, false)
DEFINE_TILES(tiles8_half_min, 8, 2, true, false)

static void mul4(const struct strip *w, const struct mat_form *form, const struct act_panel *x,
                 int t0, int n, float *out)
{
    if (form->table) {
        tiles4_table(w, x, t0, n, false, out);
    } else if (form->halves == 1) {
        (form->has_min ? tiles4_min : tiles4_plain)(w, x, t0, n, false, out);
    } else {
        (form->has_min ? tiles4_half_min : tiles4_half)(w, x, t0, n, false, out);
    }
}

static void mul8(const struct strip *w, int n_strips, const struct mat_form *form,
                 const struct act_panel *x, bool add, float *out)
{
    for (int s = 0; s < n_strips; s++) {
        if (form->halves == 1) {
            (form->has_min ? tiles8_min : tiles8_plain)(w + s, x, 0, x->nt, add, out + 16 * s);
        } else {
            (form->has_min ? tiles8_half_min : tiles8_half)(w + s, x, 0, x->nt, add, out + 16 * s);
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
