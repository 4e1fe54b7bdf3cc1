/* Products of packed integers in 256-bit registers: the body of kernels_mul_avx2.c and
 * kernels_mul_avxvnni.c, which define half_dots, EACH_READY and ready_bits before including it.
 *
 * A tile is the 16 rows of a strip (two registers) by up to 4 tokens: 8 accumulators and their
 * operands fit 16 registers. Float sums live in the output. The loops over strips and tokens are
 * inside that over groups, so that the starts of accumulators (and widened activations) are made
 * once for all of a group's tiles. */
#include <string.h>

/* Dot products of NT tokens and 16 rows to the float sums at out; scales of both sides. dots hold
 * the bits of ACC_BIAS + dot. */
INLINE void flush(const int NT, const struct packed f, const int h,
                  const __m256i dots[2][TILE_TOKENS], const uint8_t *factors, const uint8_t *units,
                  const float *xs, const float *bias_xs, const float *sums, float *out)
{
    __m256 scale[2], min[2];
#pragma GCC unroll 2
    for (int side = 0; side < 2; side++) {
        scale[side] = load_factor(f, factors, h, side, units);
        min[side] = f.has_min ? load_factor(f, factors, f.halves + h, side, units) : scale[side];
    }
#pragma GCC unroll 4
    for (int t = 0; t < NT; t++) {
        const __m256 unit = _mm256_set1_ps(xs[t]), bias = _mm256_set1_ps(bias_xs[t]);
#pragma GCC unroll 2
        for (int side = 0; side < 2; side++) {
            float *to = out + t * 32 + side * 8;
            __m256 dot = _mm256_fmadd_ps(_mm256_castsi256_ps(dots[side][t]), unit, bias);
            __m256 y = _mm256_fmadd_ps(dot, scale[side], _mm256_loadu_ps(to));
            if (f.has_min) {
                y = _mm256_fmadd_ps(min[side], _mm256_set1_ps(sums[t]), y);
            }
            _mm256_storeu_ps(to, y);
        }
    }
}

/* Ready as int16. */
INLINE bool is_words(const struct packed f)
{
    return f.ready && is_wide(f) && WIDE_BYTES == 2;
}

INLINE size_t ready_bytes(const struct packed f)
{
    return is_words(f) ? 1024 : f.ready ? 512 : (size_t)f.bits * 64;
}

/* n bytes, a multiple of 16, to int16. */
INLINE void widen(const int8_t *q, size_t n, int8_t *to)
{
    for (size_t i = 0; i < n; i += 16) {
        __m256i v = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(q + i)));
        _mm256_storeu_si256((__m256i *)(void *)(to + 2 * i), v);
    }
}

/* A group of a strip times NT tokens from t0 of nt. */
INLINE void tile(const int NT, const struct packed f, const uint8_t *values, const uint8_t *factors,
                 const uint8_t *units, const struct act_group *a, size_t nt, size_t t0,
                 const int32_t init[2][PANEL_TOKENS], float *out)
{
    const int quads = 8 / f.halves;
    const size_t each = is_words(f) ? 8 : 4;
#pragma GCC unroll 2
    for (int h = 0; h < f.halves; h++) {
        __m256i dots[2][TILE_TOKENS];
        half_dots(NT, f, values, h * quads, a->q + each * t0, each * nt, init[h] + t0, dots);
        const float *sums = f.halves == 1 ? a->xsum : a->half_xsum + (size_t)h * nt;
        flush(NT, f, h, dots, factors, units, a->xs + t0, a->bias_xs + t0, sums + t0,
              out + t0 * 32);
    }
}

/* What `init` is shifted by, and whether no correction is due: see starts. */
INLINE int own_shift(const struct packed f)
{
    return is_wide(f) || (f.ready && !READY_OWN) ? 0 : 8 - f.bits;
}

INLINE bool own_zero(const struct packed f)
{
    if (is_wide(f) || (f.ready && !READY_OWN)) {
        return WIDE_OFFSET == 0;
    }
    return f.super && f.has_min;
}

/* Where accumulators start: at ACC_BIAS less what w is above v, times the sum of x, of which init
 * has 128 times. */
INLINE void starts(const int32_t *init, size_t nt, const int shift, const bool zero, int32_t *to)
{
    const __m128i bias = _mm_set1_epi32(ACC_BIAS_BITS);
    size_t t = 0;
    for (; t + 4 <= nt; t += 4) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(init + t));
        v = zero ? bias : _mm_add_epi32(_mm_srai_epi32(_mm_sub_epi32(v, bias), shift), bias);
        _mm_store_si128((__m128i *)(void *)(to + t), v);
    }
    for (; t < nt; t++) {
        to[t] = zero ? ACC_BIAS_BITS : ((init[t] - ACC_BIAS_BITS) >> shift) + ACC_BIAS_BITS;
    }
}

/* Bytes of a packed group, with its share of what stands once in a super-block. */
INLINE size_t group_bytes(const struct packed f)
{
    return (size_t)f.bits * 64 + group_factor_bytes(f) + unit_bytes(f) / SUPER_GROUPS;
}

/* What is asked for in a packed group: its share of the next strip, and near lines; why is told in
 * kernels_few_avx512.c. */
INLINE void ask(const struct packed f, const uint8_t *far, const uint8_t *v, const uint8_t *factors)
{
    enum { NEAR = 2048, NEAR_FACTORS = 512 };
    const int lines = (int)((group_bytes(f) + 63) / 64);
#pragma GCC unroll 8
    for (int k = 0; k < lines; k++) {
        _mm_prefetch((const char *)far + k * 64, _MM_HINT_T1);
    }
#pragma GCC unroll 8
    for (int k = 0; k < f.bits; k++) {
        _mm_prefetch((const char *)v + NEAR + k * 64, _MM_HINT_T0);
    }
    _mm_prefetch((const char *)factors + NEAR_FACTORS, _MM_HINT_T0);
}

/* A panel of nt tokens times strips. */
INLINE void tiles(const size_t nt, const struct packed f, const struct strip *w, int n_strips,
                  const int shift, const bool zero, const struct act_panel *x, bool add, float *out)
{
    const struct act_panel p = {.nt = (int)nt, .bytes = x->bytes, .halves = x->halves};
    const size_t value_bytes = ready_bytes(f);
    const ptrdiff_t next = x->next ? x->next - x->bytes : 0;
    const uint8_t *far = w->next ? w->next : w->values; /* one strip, if packed */
    size_t factors_at = 0, units_at = 0;
    for (size_t t = 0; !add && t < nt; t++) {
        memset(out + t * 32, 0, (size_t)n_strips * STRIP_ROWS * sizeof *out);
    }
    for (size_t g = 0; g < x->groups; g++) {
        _Alignas(32) int32_t init[2][PANEL_TOKENS];
        struct act_group a = act_group(&p, g);
        int8_t words[GROUP * 2 * PANEL_TOKENS];
        if (g % SUPER_GROUPS == 0) {
            units_at = factors_at;
            factors_at += unit_bytes(f);
        }
        if (f.ready) {
            for (size_t i = 0; i < ACT_GROUP_BYTES * nt; i += 64) {
                _mm_prefetch((const char *)a.q + next + i, _MM_HINT_T0);
            }
        }
        if (is_words(f)) {
            widen(a.q, nt * GROUP, words);
            a.q = words;
        }
        starts(f.halves == 1 ? a.init : a.half_init, nt, shift, zero, init[0]);
        if (f.halves == 2) {
            starts(a.half_init + nt, nt, shift, zero, init[1]);
        }
        for (int s = 0; s < n_strips; s++) {
            const uint8_t *v = w[s].values + g * value_bytes, *factors = w[s].factors + factors_at;
            const uint8_t *units = w[s].factors + units_at;
            if (!f.ready) {
                ask(f, far, v, factors);
                far += group_bytes(f);
            }
            size_t t = 0;
#pragma GCC unroll 1
            for (; t + TILE_TOKENS <= nt; t += TILE_TOKENS) {
                tile(TILE_TOKENS, f, v, factors, units, &a, nt, t, init, out + 16 * s);
            }
            switch (nt - t) {
            case 3:
                tile(3, f, v, factors, units, &a, nt, t, init, out + 16 * s);
                break;
            case 2:
                tile(2, f, v, factors, units, &a, nt, t, init, out + 16 * s);
                break;
            case 1:
                tile(1, f, v, factors, units, &a, nt, t, init, out + 16 * s);
                break;
            default:
                break;
            }
        }
        factors_at += group_factor_bytes(f);
    }
}

#define DEFINE_PACKED(name, ...)                                                         \
    static void few_##name(const struct strip *w, const struct act_panel *x, float *out) \
    {                                                                                    \
        const struct packed f = {__VA_ARGS__, false};                                    \
        const size_t nt = (size_t)x->nt;                                                 \
        if (nt == 1) {                                                                   \
            tiles(1, f, w, 1, own_shift(f), own_zero(f), x, false, out);                 \
        } else if (nt == 2) {                                                            \
            tiles(2, f, w, 1, own_shift(f), own_zero(f), x, false, out);                 \
        } else {                                                                         \
            tiles(nt, f, w, 1, own_shift(f), own_zero(f), x, false, out);                \
        }                                                                                \
    }                                                                                    \
    static void unpack_##name(const struct strip *w, size_t groups, uint8_t *values,     \
                              float *factors)                                            \
    {                                                                                    \
        const struct packed f = {__VA_ARGS__, false};                                    \
        unpack_strip(f, w, groups, values, factors);                                     \
    }
EACH_PACKED(DEFINE_PACKED)

#define CASE_FEW(name, ...)       \
    case PACKED_KEY(__VA_ARGS__): \
        few_##name(w, x, out);    \
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

#define DEFINE_READY(name, bits, halves, min)                                           \
    static void ready_##name(const struct strip *w, int n_strips, int shift, bool zero, \
                             const struct act_panel *x, bool add, float *out)           \
    {                                                                                   \
        const struct packed f = {bits, halves, min, .ready = true};                     \
        if (x->nt == PANEL_TOKENS) {                                                    \
            tiles(PANEL_TOKENS, f, w, n_strips, shift, zero, x, add, out);              \
        } else {                                                                        \
            tiles((size_t)x->nt, f, w, n_strips, shift, zero, x, add, out);             \
        }                                                                               \
    }
#define CASE_READY(name, bits, halves, min)                  \
    case PACKED_KEY(bits, halves, min, false, false):        \
        ready_##name(w, n_strips, shift, zero, x, add, out); \
        return;
EACH_READY(DEFINE_READY)
static void mul8(const struct strip *w, int n_strips, const struct mat_form *form,
                 const struct act_panel *x, bool add, float *out)
{
    const struct packed f = {form->bits,  form->halves, form->has_min,
                             form->table, form->super,  true};
    const int shift = own_shift(f);
    const bool zero = own_zero(f);
    switch (PACKED_KEY(ready_bits(f), f.halves, f.has_min, false, false)) {
        EACH_READY(CASE_READY)
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
