/* Rows, attention and scans with AVX-512: see kernels.h.
 *
 * Tails are masked, and no result depends on where in an array a value stands. Sums run in 16 lanes
 * and end in one tree. exp is a polynomial of degree 6 on [-ln2/2, ln2/2] (error below 2 units in
 * the last place), erf is formula 7.1.26 of Abramowitz and Stegun (absolute error 1.5e-7). */
#if defined(__x86_64__)
#include "tensor/kernels_x86.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

INLINE __mmask16 tail_mask(size_t left)
{
    return (__mmask16)(left >= 16 ? 0xffff : (1u << left) - 1);
}

INLINE __m512 exp16(__m512 x)
{
    __mmask16 alive = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-87.0f), _CMP_GT_OQ);
    x = _mm512_min_ps(x, _mm512_set1_ps(88.7f));
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)),
                                    _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
    __m512 p = _mm512_set1_ps(1.3981999e-3f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334520e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795e-2f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
    p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), _mm512_add_ps(r, _mm512_set1_ps(1)));
    return _mm512_maskz_scalef_ps(alive, p, n);
}

static float dot_f32(const float *a, const float *b, size_t n)
{
    __m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        s0 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i), s0);
        s1 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 16), _mm512_loadu_ps(b + i + 16), s1);
        s2 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 32), _mm512_loadu_ps(b + i + 32), s2);
        s3 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 48), _mm512_loadu_ps(b + i + 48), s3);
    }
    for (; i < n; i += 16) {
        __mmask16 m = tail_mask(n - i);
        s0 = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(m, a + i), _mm512_maskz_loadu_ps(m, b + i), s0);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s0, s1), _mm512_add_ps(s2, s3)));
}

INLINE __m512i load_i8(const int8_t *p, size_t left)
{
    __mmask64 m = left >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << left) - 1;
    return _mm512_maskz_loadu_epi8(m, p);
}

/* Rows become unsigned by adding 128; 128 times the query's sum is taken off again. */
static int32_t query_bias(const int8_t *query, size_t d)
{
    __m512i sum = _mm512_setzero_si512(), ones = _mm512_set1_epi8(1);
    for (size_t i = 0; i < d; i += 64) {
        sum = _mm512_dpbusd_epi32(sum, ones, load_i8(query + i, d - i));
    }
    return 128 * _mm512_reduce_add_epi32(sum);
}

INLINE int32_t dot_biased(const int8_t *query, const int8_t *row, size_t d)
{
    __m512i sum = _mm512_setzero_si512(), flip = _mm512_set1_epi8(-128);
    size_t i = 0;
    for (; i + 64 <= d; i += 64) {
        __m512i r = _mm512_xor_si512(_mm512_loadu_si512(row + i), flip);
        sum = _mm512_dpbusd_epi32(sum, r, _mm512_loadu_si512(query + i));
    }
    if (i < d) { /* past the end the query is 0 */
        __m512i r = _mm512_xor_si512(load_i8(row + i, d - i), flip);
        sum = _mm512_dpbusd_epi32(sum, r, load_i8(query + i, d - i));
    }
    return _mm512_reduce_add_epi32(sum);
}

static int32_t dot_i8(const int8_t *a, const int8_t *b, size_t n)
{
    return dot_biased(a, b, n) - query_bias(a, n);
}

static void scan_i8(const int8_t *query, const int8_t *rows, size_t n, size_t d, int32_t *out)
{
    int32_t bias = query_bias(query, d);
    for (size_t i = 0; i < n; i++) {
        _mm_prefetch((const char *)rows + i * d + 4096, _MM_HINT_T0);
        out[i] = dot_biased(query, rows + i * d, d) - bias;
    }
}

static void add(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = tail_mask(n - i);
        _mm512_mask_storeu_ps(
            y + i, m,
            _mm512_add_ps(_mm512_maskz_loadu_ps(m, y + i), _mm512_maskz_loadu_ps(m, x + i)));
    }
}

static void rmsnorm(const float *x, const float *gain, float eps, size_t d, float *y)
{
    float scale = 1 / sqrtf(dot_f32(x, x, d) / (float)d + eps);
    for (size_t i = 0; i < d; i += 16) {
        __mmask16 m = tail_mask(d - i);
        __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), _mm512_set1_ps(scale));
        if (gain) {
            v = _mm512_mul_ps(v, _mm512_maskz_loadu_ps(m, gain + i));
        }
        _mm512_mask_storeu_ps(y + i, m, v);
    }
}

static void layernorm(const float *x, const float *residual, const float *gain, const float *bias,
                      float eps, size_t d, float *y)
{
    __m512 sum = _mm512_setzero_ps(), squares = sum;
    for (size_t i = 0; i < d; i += 16) {
        __mmask16 m = tail_mask(d - i);
        __m512 v = _mm512_maskz_loadu_ps(m, x + i);
        if (residual) {
            v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(m, residual + i));
        }
        sum = _mm512_add_ps(sum, v);
        _mm512_mask_storeu_ps(y + i, m, v);
    }
    __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / (float)d);
    for (size_t i = 0; i < d; i += 16) {
        __mmask16 m = tail_mask(d - i);
        __m512 v = _mm512_maskz_sub_ps(m, _mm512_maskz_loadu_ps(m, y + i), mean);
        squares = _mm512_fmadd_ps(v, v, squares);
    }
    __m512 scale = _mm512_set1_ps(1 / sqrtf(_mm512_reduce_add_ps(squares) / (float)d + eps));
    for (size_t i = 0; i < d; i += 16) {
        __mmask16 m = tail_mask(d - i);
        __m512 v = _mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(m, y + i), mean), scale);
        v = _mm512_fmadd_ps(v, _mm512_maskz_loadu_ps(m, gain + i),
                            _mm512_maskz_loadu_ps(m, bias + i));
        _mm512_mask_storeu_ps(y + i, m, v);
    }
}

static void gelu(float *x, size_t n)
{
    const __m512 one = _mm512_set1_ps(1);
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = tail_mask(n - i);
        __m512 v = _mm512_maskz_loadu_ps(m, x + i);
        __m512 z = _mm512_mul_ps(_mm512_abs_ps(v), _mm512_set1_ps(0.70710678f));
        __m512 t = _mm512_div_ps(one, _mm512_fmadd_ps(z, _mm512_set1_ps(0.3275911f), one));
        __m512 p = _mm512_set1_ps(1.061405429f);
        p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-1.453152027f));
        p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(1.421413741f));
        p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-0.284496736f));
        p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(0.254829592f));
        p = _mm512_mul_ps(_mm512_mul_ps(p, t),
                          exp16(_mm512_sub_ps(_mm512_setzero_ps(), _mm512_mul_ps(z, z))));
        /* p = erfc(|x| / sqrt 2): Phi is p / 2 on the left, 1 - p / 2 on the right */
        p = _mm512_mul_ps(p, _mm512_set1_ps(0.5f));
        __mmask16 right = _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_GT_OQ);
        p = _mm512_mask_sub_ps(p, right, one, p);
        _mm512_mask_storeu_ps(x + i, m, _mm512_mul_ps(v, p));
    }
}

static void silu_mul(const float *gate, const float *up, size_t n, float *y)
{
    const __m512 one = _mm512_set1_ps(1);
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = tail_mask(n - i);
        __m512 g = _mm512_maskz_loadu_ps(m, gate + i);
        __m512 e = exp16(_mm512_sub_ps(_mm512_setzero_ps(), g));
        g = _mm512_div_ps(g, _mm512_add_ps(one, e));
        _mm512_mask_storeu_ps(y + i, m, _mm512_mul_ps(g, _mm512_maskz_loadu_ps(m, up + i)));
    }
}

static void rope_halves(float *x, const float *cosine, const float *sine, size_t half)
{
    for (size_t i = 0; i < half; i += 16) {
        __mmask16 m = tail_mask(half - i);
        __m512 a = _mm512_maskz_loadu_ps(m, x + i), b = _mm512_maskz_loadu_ps(m, x + half + i);
        __m512 c = _mm512_maskz_loadu_ps(m, cosine + i), s = _mm512_maskz_loadu_ps(m, sine + i);
        _mm512_mask_storeu_ps(x + i, m, _mm512_fmsub_ps(a, c, _mm512_mul_ps(b, s)));
        _mm512_mask_storeu_ps(x + half + i, m, _mm512_fmadd_ps(a, s, _mm512_mul_ps(b, c)));
    }
}

static void rope(float *x, const float *cosine, const float *sine, size_t rot_dim, bool neox)
{
    if (neox) {
        rope_halves(x, cosine, sine, rot_dim / 2);
        return;
    }
    const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    for (size_t i = 0; i < rot_dim; i += 16) {
        __mmask16 m = tail_mask(rot_dim - i), pairs = tail_mask((rot_dim - i) / 2) & 0xff;
        __m512 v = _mm512_maskz_loadu_ps(m, x + i);
        __m512 c = _mm512_permutexvar_ps(twice, _mm512_maskz_loadu_ps(pairs, cosine + i / 2));
        __m512 s = _mm512_permutexvar_ps(twice, _mm512_maskz_loadu_ps(pairs, sine + i / 2));
        __m512 swapped = _mm512_mul_ps(_mm512_permute_ps(v, 0xb1), s);
        _mm512_mask_storeu_ps(x + i, m, _mm512_fmaddsub_ps(v, c, swapped));
    }
}

/* 32 values to int8 with an f16 scale: the scalar definition's steps. */
INLINE float quantise_group(const float *x, int8_t *q)
{
    __m512 a = _mm512_loadu_ps(x), b = _mm512_loadu_ps(x + 16);
    float peak = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(a), _mm512_abs_ps(b)));
    float scale = f16_to_f32(f32_to_f16(peak / 127));
    __m512 inverse = _mm512_set1_ps(scale > 0 ? 1 / scale : 0);
    __m512i lo = _mm512_cvtps_epi32(_mm512_mul_ps(a, inverse));
    __m512i hi = _mm512_cvtps_epi32(_mm512_mul_ps(b, inverse));
    const __m512i most = _mm512_set1_epi32(127), least = _mm512_set1_epi32(-127);
    lo = _mm512_max_epi32(_mm512_min_epi32(lo, most), least);
    hi = _mm512_max_epi32(_mm512_min_epi32(hi, most), least);
    _mm_storeu_si128((__m128i *)(void *)q, _mm512_cvtepi32_epi8(lo));
    _mm_storeu_si128((__m128i *)(void *)(q + 16), _mm512_cvtepi32_epi8(hi));
    return scale;
}

static void put_q8(uint8_t *section, size_t slot, size_t d, const float *k, const float *v)
{
    uint8_t *key_scales = section + KV_BLOCK * d, *values = key_scales + d / 32 * KV_BLOCK * 2;
    uint8_t *value_scales = values + KV_BLOCK * d;
    for (size_t g = 0; g < d / 32; g++) {
        int8_t q[32];
        store_u16(key_scales + 2 * (g * KV_BLOCK + slot),
                  f32_to_f16(quantise_group(k + 32 * g, q)));
        for (size_t i = 0; i < 8; i++) {
            memcpy(section + ((g * 8 + i) * KV_BLOCK + slot) * 4, q + 4 * i, 4);
        }
        float scale = quantise_group(v + 32 * g, (int8_t *)values + slot * d + 32 * g);
        store_u16(value_scales + 2 * (slot * (d / 32) + g), f32_to_f16(scale));
    }
}

static void kv_put(enum tensor_type type, uint8_t *section, size_t slot, size_t d, const float *k,
                   const float *v)
{
    if (type == TYPE_Q8_0) {
        put_q8(section, slot, d, k, v);
        return;
    }
    uint8_t *values = section + kv_section_bytes(type, d) / 2;
    if (type == TYPE_F32) {
        for (size_t i = 0; i < d; i++) {
            memcpy(section + 4 * (i * KV_BLOCK + slot), k + i, 4);
        }
        memcpy(values + 4 * slot * d, v, 4 * d);
        return;
    }
    enum { nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC };
    for (size_t i = 0; i < d; i += 16) {
        uint16_t h[16];
        _mm256_storeu_si256((__m256i *)(void *)h, _mm512_cvtps_ph(_mm512_loadu_ps(k + i), nearest));
        for (size_t j = 0; j < 16; j++) {
            memcpy(section + 2 * ((i + j) * KV_BLOCK + slot), h + j, 2);
        }
        _mm256_storeu_si256((__m256i *)(void *)(values + 2 * (slot * d + i)),
                            _mm512_cvtps_ph(_mm512_loadu_ps(v + i), nearest));
    }
}

/* A section as floats: keys [d][32], values [32][d]. */
struct section_f32 {
    _Alignas(64) float keys[ATTN_MAX_DIM * KV_BLOCK];
    _Alignas(64) float values[ATTN_MAX_DIM * KV_BLOCK];
};

static void section_from_f16(const uint8_t *section, size_t d, struct section_f32 *s)
{
    const uint8_t *values = section + 2 * KV_BLOCK * d;
    for (size_t i = 0; i < KV_BLOCK * d; i += 16) {
        __m256i k = _mm256_loadu_si256((const __m256i *)(const void *)(section + 2 * i));
        __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(values + 2 * i));
        _mm512_store_ps(s->keys + i, _mm512_cvtph_ps(k));
        _mm512_store_ps(s->values + i, _mm512_cvtph_ps(v));
    }
}

static void section_from_q8(const uint8_t *section, size_t d, struct section_f32 *s)
{
    const uint8_t *key_scales = section + KV_BLOCK * d;
    const uint8_t *values = key_scales + d / 32 * KV_BLOCK * 2;
    const uint8_t *value_scales = values + KV_BLOCK * d;
    for (size_t i = 0; i < d / 4; i++) {
        for (size_t half = 0; half < 2; half++) {
            const uint8_t *f = key_scales + 2 * (i / 8 * KV_BLOCK + half * 16);
            __m512 scale = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)f));
            __m512i bytes = _mm512_loadu_si512(section + (i * KV_BLOCK + half * 16) * 4);
            for (size_t b = 0; b < 4; b++) {
                __m512i v = _mm512_sll_epi32(bytes, _mm_cvtsi32_si128((int)(24 - 8 * b)));
                __m512 x = _mm512_cvtepi32_ps(_mm512_srai_epi32(v, 24));
                _mm512_store_ps(s->keys + (4 * i + b) * KV_BLOCK + half * 16,
                                _mm512_mul_ps(x, scale));
            }
        }
    }
    for (size_t slot = 0; slot < KV_BLOCK; slot++) {
        for (size_t i = 0; i < d; i += 16) {
            float scale = load_f16(value_scales + 2 * (slot * (d / 32) + i / 32));
            __m128i q = _mm_loadu_si128((const __m128i *)(const void *)(values + slot * d + i));
            __m512 x = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q));
            _mm512_store_ps(s->values + slot * d + i, _mm512_mul_ps(x, _mm512_set1_ps(scale)));
        }
    }
}

/* Scores of NQ queries with the 32 slots. */
INLINE void scores(const int NQ, const float *q, const float *keys, size_t d, float *out)
{
    __m512 s0[8], s1[8];
#pragma GCC unroll 8
    for (int i = 0; i < NQ; i++) {
        s0[i] = s1[i] = _mm512_setzero_ps();
    }
    for (size_t c = 0; c < d; c++) {
        __m512 k0 = _mm512_loadu_ps(keys + c * KV_BLOCK);
        __m512 k1 = _mm512_loadu_ps(keys + c * KV_BLOCK + 16);
#pragma GCC unroll 8
        for (int i = 0; i < NQ; i++) {
            __m512 v = _mm512_set1_ps(q[(size_t)i * d + c]);
            s0[i] = _mm512_fmadd_ps(v, k0, s0[i]);
            s1[i] = _mm512_fmadd_ps(v, k1, s1[i]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < NQ; i++) {
        _mm512_store_ps(out + i * KV_BLOCK, s0[i]);
        _mm512_store_ps(out + i * KV_BLOCK + 16, s1[i]);
    }
}

INLINE __m512 softcapped(__m512 s, float cap)
{
    /* tanh(x) = 1 - 2 / (exp(2 x) + 1) */
    __m512 e = exp16(_mm512_mul_ps(s, _mm512_set1_ps(2 / cap)));
    __m512 r = _mm512_div_ps(_mm512_set1_ps(2), _mm512_add_ps(e, _mm512_set1_ps(1)));
    return _mm512_mul_ps(_mm512_sub_ps(_mm512_set1_ps(1), r), _mm512_set1_ps(cap));
}

/* Scores of query i to weights exp(score - peak), 0 for slots it does not see. Returns what its
 * accumulator shrinks by. */
static float weigh(struct attn_tile *t, int i, int64_t pos, float *score)
{
    int64_t first = t->lo[i] > pos ? t->lo[i] - pos : 0;
    int64_t last = t->hi[i] - pos < KV_BLOCK ? t->hi[i] - pos : KV_BLOCK;
    if (first >= last) {
        memset(score, 0, KV_BLOCK * sizeof *score);
        return 1;
    }
    uint32_t seen = (uint32_t)((((uint64_t)1 << last) - 1) & ~(((uint64_t)1 << first) - 1));
    __mmask16 m0 = (__mmask16)seen, m1 = (__mmask16)(seen >> 16);
    __m512 a = _mm512_load_ps(score), b = _mm512_load_ps(score + 16);
    if (t->softcap > 0) {
        a = softcapped(a, t->softcap);
        b = softcapped(b, t->softcap);
    }
    const __m512 never = _mm512_set1_ps(-INFINITY);
    __m512 most = _mm512_max_ps(_mm512_mask_mov_ps(never, m0, a), _mm512_mask_mov_ps(never, m1, b));
    float peak = fmaxf(t->peak[i], _mm512_reduce_max_ps(most));
    float shrink = 1; /* what exp16(0) gives; the peak seldom moves */
    if (peak != t->peak[i]) {
        shrink = _mm512_cvtss_f32(exp16(_mm512_set1_ps(t->peak[i] - peak)));
    }
    a = _mm512_maskz_mov_ps(m0, exp16(_mm512_sub_ps(a, _mm512_set1_ps(peak))));
    b = _mm512_maskz_mov_ps(m1, exp16(_mm512_sub_ps(b, _mm512_set1_ps(peak))));
    _mm512_store_ps(score, a);
    _mm512_store_ps(score + 16, b);
    t->peak[i] = peak;
    t->total[i] = t->total[i] * shrink + _mm512_reduce_add_ps(_mm512_add_ps(a, b));
    return shrink;
}

/* acc = acc * shrink + weights x values for NQ queries and NC * 16 columns. */
INLINE void mix(const int NQ, const int NC, const float *weight, const float *shrink,
                const float *values, size_t d, int first, int last, float *acc)
{
    __m512 a[4][4];
#pragma GCC unroll 4
    for (int i = 0; i < NQ; i++) {
#pragma GCC unroll 4
        for (int c = 0; c < NC; c++) {
            a[i][c] = _mm512_mul_ps(_mm512_loadu_ps(acc + (size_t)i * d + c * 16),
                                    _mm512_set1_ps(shrink[i]));
        }
    }
    for (int s = first; s < last; s++) {
        __m512 v[4];
#pragma GCC unroll 4
        for (int c = 0; c < NC; c++) {
            v[c] = _mm512_loadu_ps(values + (size_t)s * d + c * 16);
        }
#pragma GCC unroll 4
        for (int i = 0; i < NQ; i++) {
            __m512 p = _mm512_set1_ps(weight[i * KV_BLOCK + s]);
#pragma GCC unroll 4
            for (int c = 0; c < NC; c++) {
                a[i][c] = _mm512_fmadd_ps(p, v[c], a[i][c]);
            }
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < NQ; i++) {
#pragma GCC unroll 4
        for (int c = 0; c < NC; c++) {
            _mm512_storeu_ps(acc + (size_t)i * d + c * 16, a[i][c]);
        }
    }
}

static void attn_block(struct attn_tile *t, enum tensor_type type, const uint8_t *section,
                       int64_t pos)
{
    struct section_f32 floats;
    _Alignas(64) float weight[ATTN_QUERIES * KV_BLOCK];
    float shrink[ATTN_QUERIES];
    size_t d = (size_t)t->head_dim;
    const float *keys = floats.keys, *values = floats.values;
    if (type == TYPE_F32) {
        keys = (const float *)(const void *)section;
        values = keys + KV_BLOCK * d;
    } else {
        (type == TYPE_F16 ? section_from_f16 : section_from_q8)(section, d, &floats);
    }
    int i = 0, first = KV_BLOCK, last = 0;
    for (; i + 8 <= t->n; i += 8) {
        scores(8, t->q + (size_t)i * d, keys, d, weight + i * KV_BLOCK);
    }
    if (i + 4 <= t->n) {
        scores(4, t->q + (size_t)i * d, keys, d, weight + i * KV_BLOCK);
        i += 4;
    }
    for (; i + 2 <= t->n; i += 2) {
        scores(2, t->q + (size_t)i * d, keys, d, weight + i * KV_BLOCK);
    }
    if (i < t->n) {
        scores(1, t->q + (size_t)i * d, keys, d, weight + i * KV_BLOCK);
    }
    for (i = 0; i < t->n; i++) {
        shrink[i] = weigh(t, i, pos, weight + i * KV_BLOCK);
        int lo = t->lo[i] > pos ? (int)(t->lo[i] - pos) : 0;
        int hi = t->hi[i] - pos < KV_BLOCK ? (int)(t->hi[i] - pos) : KV_BLOCK;
        first = lo < hi && lo < first ? lo : first;
        last = lo < hi && hi > last ? hi : last;
    }
    for (size_t c = 0; c < d; c += 64) {
        bool wide = d - c >= 64;
        for (size_t c1 = c; c1 < d && c1 < c + 64; c1 += wide ? 64 : 16) {
            for (i = 0; i + 4 <= t->n; i += 4) {
                const float *w = weight + i * KV_BLOCK;
                float *acc = t->acc + (size_t)i * d + c1;
                wide ? mix(4, 4, w, shrink + i, values + c1, d, first, last, acc)
                     : mix(4, 1, w, shrink + i, values + c1, d, first, last, acc);
            }
            for (; i < t->n; i++) {
                const float *w = weight + i * KV_BLOCK;
                float *acc = t->acc + (size_t)i * d + c1;
                wide ? mix(1, 4, w, shrink + i, values + c1, d, first, last, acc)
                     : mix(1, 1, w, shrink + i, values + c1, d, first, last, acc);
            }
        }
    }
}

void kernels_fill_avx512(struct kernels *k)
{
    k->dot_f32 = dot_f32;
    k->dot_i8 = dot_i8;
    k->scan_i8 = scan_i8;
    k->add = add;
    k->rmsnorm = rmsnorm;
    k->layernorm = layernorm;
    k->gelu = gelu;
    k->silu_mul = silu_mul;
    k->rope = rope;
    k->kv_put = kv_put;
    k->attn_block = attn_block;
}
#endif
