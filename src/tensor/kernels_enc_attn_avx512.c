/* Attention of encoders with AVX-512 VNNI: see kernels_enc.h for the definition and the layouts.
 *
 * Scores: lanes are 32 queries, keys are spread, a tile is 12 keys: the same 24 accumulators as in
 * a product. A maximum or a sum over the keys then needs no step across lanes. Weights: two keys of
 * 16 queries are packed to the dwords that the next product spreads. Values: lanes are columns, a
 * tile is 12 queries by 32 columns, and results leave as rows. For heads of 32 columns and 8 bits
 * that is 8 + 16 dot products per 16 scores and six operations for their softmax. */
#if defined(__x86_64__)
#include "tensor/kernels_x86.h"

#include <immintrin.h>
#include <math.h>

#define DPBUSD(acc, x, w) __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(x), "v"(w))
#define DPWSSD(acc, x, w) __asm__("vpdpwssd %2, %1, %0" : "+v"(acc) : "v"(x), "v"(w))
#define INLINE static inline __attribute__((always_inline))

enum { VECTORS = ENC_MAX_HEAD / 16 };

/* What columns of keys and values are quantised by; queries have their units apart. */
struct ranges {
    __m512 k_mid[VECTORS], v_mid[VECTORS], v_inverse[VECTORS], v_scale[VECTORS];
    float k_scale, k_inverse;
    bool bad;
};

/* 1 / scale, or 0 for a scale of nothing. */
INLINE __m512 inverse_of(__m512 scale)
{
    __mmask16 m = _mm512_cmp_ps_mask(scale, _mm512_set1_ps(1e-25f), _CMP_GT_OQ);
    return _mm512_maskz_div_ps(m, _mm512_set1_ps(1), scale);
}

static void find_ranges(const struct enc_head *h, struct ranges *r)
{
    const __m512 most = _mm512_set1_ps(h->bits == 8 ? ENC_HEAD8 : ENC_HEAD16);
    const __m512 half = _mm512_set1_ps(0.5f), zero = _mm512_setzero_ps();
    __m512 bad = zero, k_half = zero;
    for (size_t c = 0; c < h->d; c += 16) {
        const float *k = h->k + c, *v = h->v + c;
        __m512 k_low = _mm512_loadu_ps(k), k_high = k_low;
        __m512 v_low = _mm512_loadu_ps(v), v_high = v_low;
        for (size_t i = 0; i < h->n; i++, k += h->ld, v += h->ld) {
            __m512 x = _mm512_loadu_ps(k), y = _mm512_loadu_ps(v);
            k_low = _mm512_min_ps(k_low, x);
            k_high = _mm512_max_ps(k_high, x);
            v_low = _mm512_min_ps(v_low, y);
            v_high = _mm512_max_ps(v_high, y);
            bad = _mm512_fmadd_ps(x, zero, bad);
            bad = _mm512_fmadd_ps(y, zero, bad);
        }
        __m512 k_range = _mm512_mul_ps(_mm512_sub_ps(k_high, k_low), half);
        __m512 v_range = _mm512_mul_ps(_mm512_sub_ps(v_high, v_low), half);
        bad = _mm512_fmadd_ps(_mm512_mul_ps(v_range, _mm512_set1_ps(1e8f)), zero, bad);
        r->k_mid[c / 16] = _mm512_mul_ps(_mm512_add_ps(k_low, k_high), half);
        r->v_mid[c / 16] = _mm512_mul_ps(_mm512_add_ps(v_low, v_high), half);
        k_half = _mm512_max_ps(k_half, k_range);
        r->v_scale[c / 16] = _mm512_div_ps(v_range, _mm512_set1_ps(ENC_VALUE));
        r->v_inverse[c / 16] = inverse_of(r->v_scale[c / 16]);
    }
    __m512 k_scale = _mm512_div_ps(_mm512_set1_ps(_mm512_reduce_max_ps(k_half)), most);
    bad = _mm512_fmadd_ps(_mm512_mul_ps(k_half, _mm512_set1_ps(1e8f)), zero, bad);
    r->k_scale = _mm512_cvtss_f32(k_scale);
    r->k_inverse = _mm512_cvtss_f32(inverse_of(k_scale));
    r->bad = _mm512_cmp_ps_mask(bad, bad, _CMP_UNORD_Q) != 0;
}

/* 16 columns of four rows to the dwords of four tokens: to[dword * step], 16 bytes each. */
INLINE void put_tokens(const int BITS, const __m512i *v, const int flip, uint8_t *to, size_t step)
{
    __m512i ab = _mm512_packs_epi32(v[0], v[1]), cd = _mm512_packs_epi32(v[2], v[3]);
    __m512i even, odd;
    if (BITS == 8) {
        even = odd = _mm512_xor_si512(_mm512_packs_epi16(ab, cd), _mm512_set1_epi8((char)flip));
    } else {
        __m512 a = _mm512_castsi512_ps(ab), b = _mm512_castsi512_ps(cd);
        even = _mm512_castps_si512(_mm512_shuffle_ps(a, b, 0x88));
        odd = _mm512_castps_si512(_mm512_shuffle_ps(a, b, 0xdd));
    }
#define PUT(lane)                                                                     \
    _mm_store_si128((__m128i *)(void *)to, _mm512_extracti32x4_epi32(even, lane));    \
    to += step;                                                                       \
    if (BITS == 16) {                                                                 \
        _mm_store_si128((__m128i *)(void *)to, _mm512_extracti32x4_epi32(odd, lane)); \
        to += step;                                                                   \
    }
    PUT(0)
    PUT(1)
    PUT(2)
    PUT(3)
#undef PUT
}

/* Rows past the last are the last one again. */
INLINE const float *row_of(const float *x, size_t i, const struct enc_head *h)
{
    return x + (i < h->n ? i : h->n - 1) * h->ld;
}

INLINE void pack_keys(const int BITS, const struct enc_head *h, const struct ranges *r, uint8_t *to)
{
    const size_t rounded = (h->n + 3) / 4 * 4, dwords = enc_dwords(BITS, h->d);
    const __m512 inverse = _mm512_set1_ps(r->k_inverse);
    for (size_t i = 0; i < rounded; i += 4) {
        size_t first = i / ENC_TOKENS * ENC_TOKENS, left = rounded - first;
        size_t step = 4 * (left < ENC_TOKENS ? left : ENC_TOKENS);
        for (size_t c = 0; c < h->d; c += 16) {
            __m512i v[4];
#pragma GCC unroll 4
            for (size_t j = 0; j < 4; j++) {
                __m512 x = _mm512_loadu_ps(row_of(h->k, i + j, h) + c);
                v[j] =
                    _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_sub_ps(x, r->k_mid[c / 16]), inverse));
            }
            put_tokens(BITS, v, 0x80,
                       to + first * 4 * dwords + enc_dwords(BITS, c) * step + 4 * (i - first),
                       step);
        }
    }
}

static void pack_values(const struct enc_head *h, const struct ranges *r, uint8_t *to)
{
    const __m512i low = _mm512_set1_epi32(0xffff);
    for (size_t i = 0; i < h->n; i += 2, to += 4 * h->d) {
        const float *a = row_of(h->v, i, h), *b = row_of(h->v, i + 1, h);
        for (size_t c = 0; c < h->d; c += 16) {
            const __m512 mid = r->v_mid[c / 16], by = r->v_inverse[c / 16];
            __m512i x =
                _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(a + c), mid), by));
            __m512i y =
                _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(b + c), mid), by));
            _mm512_store_si512(to + 4 * c,
                               _mm512_or_si512(_mm512_and_si512(x, low), _mm512_slli_epi32(y, 16)));
        }
    }
}

/* Lane i of 128 bits: the greatest of x[i], as integers, four times. */
INLINE __m512i most_of_four(const __m512i *x)
{
    __m512i ab = _mm512_max_epi32(_mm512_shuffle_i32x4(x[0], x[1], 0x44),
                                  _mm512_shuffle_i32x4(x[0], x[1], 0xee));
    __m512i cd = _mm512_max_epi32(_mm512_shuffle_i32x4(x[2], x[3], 0x44),
                                  _mm512_shuffle_i32x4(x[2], x[3], 0xee));
    __m512i all =
        _mm512_max_epi32(_mm512_shuffle_i32x4(ab, cd, 0x88), _mm512_shuffle_i32x4(ab, cd, 0xdd));
    all = _mm512_max_epi32(all, _mm512_shuffle_epi32(all, 0x4e));
    return _mm512_max_epi32(all, _mm512_shuffle_epi32(all, 0xb1));
}

/* Queries [first, first + n), n = 16 or 32; their scales. Magnitudes are compared as integers, so
 * that what is not a number is the greatest. */
INLINE void pack_queries(const int BITS, const struct enc_head *h, size_t first, size_t n,
                         uint8_t *to, float *scales)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    const __m512 most = _mm512_set1_ps(BITS == 8 ? ENC_HEAD8 : ENC_HEAD16);
    for (size_t i = 0; i < n; i += 4) {
        _Alignas(64) float scale[16], inverse[16];
        const float *row[4];
        __m512i peak[4];
#pragma GCC unroll 4
        for (size_t j = 0; j < 4; j++) {
            row[j] = row_of(h->q, first + i + j, h);
            peak[j] = _mm512_setzero_si512();
        }
        for (size_t c = 0; c < h->d; c += 16) {
#pragma GCC unroll 4
            for (size_t j = 0; j < 4; j++) {
                __m512i x = _mm512_loadu_si512(row[j] + c);
                peak[j] = _mm512_max_epi32(peak[j], _mm512_and_si512(x, magnitude));
            }
        }
        __m512 s = _mm512_div_ps(_mm512_castsi512_ps(most_of_four(peak)), most);
        __mmask16 fine = _mm512_cmp_ps_mask(s, _mm512_set1_ps(1e30f), _CMP_LT_OQ);
        _mm512_store_ps(inverse, _mm512_maskz_mov_ps(fine, inverse_of(s)));
        _mm512_store_ps(scale, _mm512_mask_mov_ps(_mm512_set1_ps(NAN), fine, s));
#pragma GCC unroll 4
        for (size_t j = 0; j < 4; j++) {
            scales[i + j] = scale[4 * j];
        }
        for (size_t c = 0; c < h->d; c += 16) {
            __m512i v[4];
#pragma GCC unroll 4
            for (size_t j = 0; j < 4; j++) {
                v[j] = _mm512_cvtps_epi32(
                    _mm512_mul_ps(_mm512_loadu_ps(row[j] + c), _mm512_set1_ps(inverse[4 * j])));
            }
            put_tokens(BITS, v, 0, to + enc_dwords(BITS, c) * 4 * ENC_QUERIES + 4 * i,
                       4 * ENC_QUERIES);
        }
    }
}

/* s[key][32] of NV * 16 queries and NK keys, from `start` on. */
INLINE void score_tile(const int BITS, const int NV, const int NK, const uint8_t *q, size_t dwords,
                       const uint8_t *k, const __m512i *start, float *s)
{
    __m512i acc[2][ENC_TOKENS];
#pragma GCC unroll 12
    for (int t = 0; t < NK; t++) {
        acc[0][t] = start[0];
        acc[1][t] = start[1];
    }
    do {
        const __m512i q0 = _mm512_load_si512(q), q1 = _mm512_load_si512(q + 64);
#pragma GCC unroll 12
        for (int t = 0; t < NK; t++) {
            const __m512i v = _mm512_set1_epi32(((const int32_t *)(const void *)k)[t]);
            if (BITS == 8) {
                DPBUSD(acc[0][t], v, q0);
            } else {
                DPWSSD(acc[0][t], v, q0);
            }
            if (NV == 2 && BITS == 8) {
                DPBUSD(acc[1][t], v, q1);
            } else if (NV == 2) {
                DPWSSD(acc[1][t], v, q1);
            }
        }
        q += 4 * ENC_QUERIES;
        k += 4 * NK;
    } while (--dwords);
#pragma GCC unroll 12
    for (int t = 0; t < NK; t++) {
        _mm512_store_si512(s + t * ENC_QUERIES, acc[0][t]);
        if (NV == 2) {
            _mm512_store_si512(s + t * ENC_QUERIES + 16, acc[1][t]);
        }
    }
}

INLINE void scores(const int BITS, const int NV, const struct enc_room *m, size_t n, size_t d)
{
    const size_t dwords = enc_dwords(BITS, d);
    const uint8_t *k = m->k;
    __m512i start[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    if (BITS == 8) { /* keys are unsigned: k + 128 */
        for (size_t c = 0; c < dwords; c++) {
            DPBUSD(start[0], _mm512_set1_epi8(-128), _mm512_load_si512(m->q + c * 128));
            DPBUSD(start[1], _mm512_set1_epi8(-128), _mm512_load_si512(m->q + c * 128 + 64));
        }
        start[0] = _mm512_sub_epi32(_mm512_set1_epi32(ACC_BIAS_BITS), start[0]);
        start[1] = _mm512_sub_epi32(_mm512_set1_epi32(ACC_BIAS_BITS), start[1]);
    }
    for (size_t j = 0; j < n; j += ENC_TOKENS, k += 4 * ENC_TOKENS * dwords) {
        float *s = m->s + j * ENC_QUERIES;
        if (n - j > 8) {
            score_tile(BITS, NV, 12, m->q, dwords, k, start, s);
        } else if (n - j > 4) {
            score_tile(BITS, NV, 8, m->q, dwords, k, start, s);
        } else {
            score_tile(BITS, NV, 4, m->q, dwords, k, start, s);
        }
    }
}

/* 1 / sum of the weights; NaN where the unit is none. */
INLINE __m512 share_of(__m512i total, __m512 unit)
{
    __m512 share = _mm512_div_ps(_mm512_set1_ps(1), _mm512_cvtepi32_ps(total));
    return _mm512_fmadd_ps(unit, _mm512_setzero_ps(), share);
}

/* Scores of 16 queries to weights; returns 1 / their sum. */
INLINE __m512 chances8(const float *s, size_t n, __m512 unit, uint8_t *p)
{
    const __m512i pairs =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15));
    const __m512i ones = _mm512_set1_epi16(1), table = _mm512_loadu_si512(enc_chances);
    __m512 most[4];
    for (size_t i = 0; i < 4; i++) {
        most[i] = _mm512_load_ps(s + (i < n ? i : 0) * ENC_QUERIES);
    }
    for (size_t j = 4; j + 4 <= n; j += 4) {
#pragma GCC unroll 4
        for (size_t i = 0; i < 4; i++) {
            most[i] = _mm512_max_ps(most[i], _mm512_load_ps(s + (j + i) * ENC_QUERIES));
        }
    }
    for (size_t j = n / 4 * 4; j < n; j++) {
        most[0] = _mm512_max_ps(most[0], _mm512_load_ps(s + j * ENC_QUERIES));
    }
    most[0] = _mm512_max_ps(_mm512_max_ps(most[0], most[1]), _mm512_max_ps(most[2], most[3]));
    unit = _mm512_min_ps(_mm512_set1_ps(1), unit); /* a NaN stays */
    const __m512 top = _mm512_mul_ps(most[0], unit);
    __m512i total = _mm512_setzero_si512();
    for (size_t j = 0; j < n; j += 2) {
        __m512 a = _mm512_load_ps(s + j * ENC_QUERIES);
        __m512 b = _mm512_load_ps(s + (j + 1) * ENC_QUERIES);
        __m512i u = _mm512_packus_epi32(_mm512_cvtps_epi32(_mm512_fnmadd_ps(a, unit, top)),
                                        _mm512_cvtps_epi32(_mm512_fnmadd_ps(b, unit, top)));
        u = _mm512_srlv_epi16(_mm512_permutexvar_epi16(u, table), _mm512_srli_epi16(u, 5));
        u = _mm512_shuffle_epi8(u, pairs);
        if (j + 1 == n) {
            u = _mm512_and_si512(u, _mm512_set1_epi32(0xffff));
        }
        DPWSSD(total, u, ones);
        _mm512_store_si512(p + j / 2 * 4 * ENC_QUERIES, u);
    }
    return share_of(total, unit);
}

INLINE __m512i chance16(__m512 x)
{
    static const float c[] = {ENC_EXP2_COEFFICIENTS};
    const __m512 magic = _mm512_set1_ps(ACC_BIAS);
    x = _mm512_max_ps(x, _mm512_set1_ps(-40)); /* for a NaN, too */
    __m512 whole = _mm512_add_ps(x, magic);
    __m512 f = _mm512_sub_ps(x, _mm512_sub_ps(whole, magic));
    __m512 p = _mm512_set1_ps(c[0] * ENC_CHANCE);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(c[1] * ENC_CHANCE));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(c[2] * ENC_CHANCE));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(c[3] * ENC_CHANCE));
    return _mm512_cvtps_epi32(_mm512_castsi512_ps(_mm512_add_epi32(
        _mm512_castps_si512(p), _mm512_slli_epi32(_mm512_castps_si512(whole), 23))));
}

INLINE __m512 chances16(const float *s, size_t n, __m512 unit, uint8_t *p)
{
    const __m512i ones = _mm512_set1_epi16(1);
    const size_t last = n - 1;
    __m512i most = _mm512_load_si512(s), total = _mm512_setzero_si512();
    for (size_t j = 1; j < n; j++) {
        most = _mm512_max_epi32(most, _mm512_load_si512(s + j * ENC_QUERIES));
    }
    const __m512 top = _mm512_cvtepi32_ps(most);
    for (size_t j = 0; j < n; j += 2) {
        __m512i u[2];
#pragma GCC unroll 2
        for (size_t i = 0; i < 2; i++) {
            __m512 x = _mm512_cvtepi32_ps(_mm512_load_si512(s + (j + i) * ENC_QUERIES));
            u[i] = chance16(_mm512_mul_ps(_mm512_sub_ps(x, top), unit));
        }
        u[1] = j == last ? _mm512_setzero_si512() : _mm512_slli_epi32(u[1], 16);
        u[0] = _mm512_or_si512(u[0], u[1]);
        DPWSSD(total, u[0], ones);
        _mm512_store_si512(p + j / 2 * 4 * ENC_QUERIES, u[0]);
    }
    return share_of(total, unit);
}

/* Weights x values for NQ queries and NC * 16 columns over `pairs` dwords of keys: sums[query]
 * [NC * 16] as floats, or added to what is there. */
INLINE void mix_tile(const int NQ, const int NC, const uint8_t *p, const uint8_t *v, size_t row,
                     size_t pairs, bool add, float *sums)
{
    __m512i acc[2][ENC_TOKENS];
#pragma GCC unroll 12
    for (int i = 0; i < NQ; i++) {
        acc[0][i] = acc[1][i] = _mm512_setzero_si512();
    }
    do {
        const __m512i v0 = _mm512_load_si512(v), v1 = NC == 2 ? _mm512_load_si512(v + 64) : v0;
#pragma GCC unroll 12
        for (int i = 0; i < NQ; i++) {
            const __m512i w = _mm512_set1_epi32(((const int32_t *)(const void *)p)[i]);
            DPWSSD(acc[0][i], w, v0);
            if (NC == 2) {
                DPWSSD(acc[1][i], w, v1);
            }
        }
        p += 4 * ENC_QUERIES;
        v += row;
    } while (--pairs);
#pragma GCC unroll 12
    for (int i = 0; i < NQ; i++) {
#pragma GCC unroll 2
        for (int c = 0; c < NC; c++) {
            __m512 x = _mm512_cvtepi32_ps(acc[c][i]);
            float *to = sums + i * 32 + c * 16;
            _mm512_store_ps(to, add ? _mm512_add_ps(_mm512_load_ps(to), x) : x);
        }
    }
}

/* NQ queries from i on. */
INLINE void mix(const int NQ, const struct enc_head *h, const struct enc_room *m,
                const struct ranges *r, size_t first, size_t i, const float *inverse)
{
    _Alignas(64) float sums[ENC_TOKENS * 32];
    const size_t all = (h->n + 1) / 2, row = 4 * h->d, piece = ENC_CHANCE_KEYS / 2;
    for (size_t c = 0; c < h->d; c += 32) {
        const int nc = h->d - c < 32 ? 1 : 2;
        for (size_t j = 0; j < all; j += piece) {
            const size_t n = all - j < piece ? all - j : piece;
            const uint8_t *p = m->p + (j * ENC_QUERIES + i) * 4, *v = m->v + j * row + 4 * c;
            if (nc == 2) {
                mix_tile(NQ, 2, p, v, row, n, j > 0, sums);
            } else {
                mix_tile(NQ, 1, p, v, row, n, j > 0, sums);
            }
        }
        for (size_t t = 0; t < (size_t)NQ && first + i + t < h->n_queries; t++) {
            const __m512 f = _mm512_set1_ps(inverse[i + t]);
            float *to = h->out + (first + i + t) * h->ldo + c;
            for (size_t l = 0; l < (size_t)nc; l++) {
                const size_t at = c / 16 + l;
                _mm512_storeu_ps(to + 16 * l,
                                 _mm512_fmadd_ps(_mm512_load_ps(sums + t * 32 + 16 * l),
                                                 _mm512_mul_ps(r->v_scale[at], f), r->v_mid[at]));
            }
        }
    }
}

INLINE void attend(const int BITS, const struct enc_head *h)
{
    struct enc_room m;
    struct ranges r;
    (void)enc_head_bytes(BITS, h->n, h->d, h->memory, &m);
    m.p = (uint8_t *)m.s; /* weights of two keys overwrite a score that has been read */
    find_ranges(h, &r);
    if (r.bad) {
        r.k_scale = NAN; /* and so all weights, their sum and the results */
        r.k_inverse = 0;
        for (size_t c = 0; c < h->d / 16; c++) {
            r.v_inverse[c] = r.v_mid[c] = r.k_mid[c] = _mm512_setzero_ps();
        }
    }
    pack_keys(BITS, h, &r, m.k);
    pack_values(h, &r, m.v);
    const float log2e = 1.44269504f * (BITS == 8 ? (float)ENC_CHANCE_STEPS : 1.0f);
    const float unit = r.k_scale * (h->scale * log2e);
    for (size_t first = 0; first < h->n_queries; first += ENC_QUERIES) {
        _Alignas(64) float scales[ENC_QUERIES];
        const size_t left = h->n_queries - first, n = left < ENC_QUERIES ? left : ENC_QUERIES;
        const size_t lanes = n > 16 ? 32 : 16;
        pack_queries(BITS, h, first, lanes, m.q, scales);
        if (lanes == 32) {
            scores(BITS, 2, &m, h->n, h->d);
        } else {
            scores(BITS, 1, &m, h->n, h->d);
        }
        for (size_t i = 0; i < lanes; i += 16) {
            __m512 by = _mm512_mul_ps(_mm512_load_ps(scales + i), _mm512_set1_ps(unit));
            _mm512_store_ps(scales + i, BITS == 8 ? chances8(m.s + i, h->n, by, m.p + 4 * i)
                                                  : chances16(m.s + i, h->n, by, m.p + 4 * i));
        }
        for (size_t i = 0, units; i < n; i += 4 * units) {
            units = (n - i + 3) / 4;
            units = units == 4 ? 2 : units < 3 ? units : 3; /* no narrow tile at the end */
            if (units == 3) {
                mix(12, h, &m, &r, first, i, scales);
            } else if (units == 2) {
                mix(8, h, &m, &r, first, i, scales);
            } else {
                mix(4, h, &m, &r, first, i, scales);
            }
        }
    }
}

static void attend_any(const struct enc_head *h)
{
    if (h->bits == 8) {
        attend(8, h);
    } else {
        attend(16, h);
    }
}

void kernels_fill_avx512_enc_attn(struct kernels *k)
{
    k->enc.attend = attend_any;
}
#endif
