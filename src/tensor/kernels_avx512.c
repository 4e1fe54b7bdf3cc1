/* Rows and scans with AVX-512: see kernels.h.
 *
 * Tails are masked, and no result depends on where in an array a value stands. Sums run in 16 lanes
 * and end in one tree. exp is a polynomial of degree 6 on [-ln2/2, ln2/2] (error below 2 units in
 * the last place), erf is formula 7.1.26 of Abramowitz and Stegun (absolute error 1.5e-7).
 * Rejected: SiLU by vrcp14ps and a Newton step, since vdivps waits beside all the rest (5.3 ns per
 * 16 values; 6.1 without it). */
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

static inline __m512 add4(const __m512 *x)
{
    return _mm512_add_ps(_mm512_add_ps(x[0], x[1]), _mm512_add_ps(x[2], x[3]));
}

/* WHOLE: d is a multiple of 64, and nothing is masked: what masked stores leave is slow to load. */
static inline __attribute__((always_inline)) void norm_row(const bool WHOLE, const float *x,
                                                           const float *residual, const float *gain,
                                                           const float *bias, float eps, size_t d,
                                                           float *y)
{
    __m512 sum[4], squares[4]; /* four, so that no addition waits for the one before */
    for (size_t j = 0; j < 4; j++) {
        sum[j] = squares[j] = _mm512_setzero_ps();
    }
#define MASK(at) (WHOLE ? 0xffff : (at) < d ? tail_mask(d - (at)) : 0)
    for (size_t i = 0; i < d; i += 64) {
#pragma GCC unroll 4
        for (size_t j = 0; j < 4; j++) {
            const size_t at = i + 16 * j;
            const __mmask16 m = MASK(at);
            __m512 v = _mm512_maskz_loadu_ps(m, x + at);
            if (residual) {
                v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(m, residual + at));
            }
            sum[j] = _mm512_add_ps(sum[j], v);
            _mm512_mask_storeu_ps(y + at, m, v);
        }
    }
    const __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(add4(sum)) / (float)d);
    for (size_t i = 0; i < d; i += 64) {
#pragma GCC unroll 4
        for (size_t j = 0; j < 4; j++) {
            const __mmask16 m = MASK(i + 16 * j);
            __m512 v = _mm512_maskz_loadu_ps(m, y + i + 16 * j);
            v = _mm512_maskz_sub_ps(m, v, mean);
            squares[j] = _mm512_fmadd_ps(v, v, squares[j]);
        }
    }
    const float variance = _mm512_reduce_add_ps(add4(squares)) / (float)d;
    const __m512 scale = _mm512_set1_ps(1 / sqrtf(variance + eps));
    for (size_t i = 0; i < d; i += 16) {
        const __mmask16 m = MASK(i);
        __m512 v = _mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(m, y + i), mean), scale);
        v = _mm512_fmadd_ps(v, _mm512_maskz_loadu_ps(m, gain + i),
                            _mm512_maskz_loadu_ps(m, bias + i));
        _mm512_mask_storeu_ps(y + i, m, v);
    }
#undef MASK
}

static void layernorm(const float *x, const float *residual, const float *gain, const float *bias,
                      float eps, size_t d, float *y)
{
    if (d % 64 == 0) {
        norm_row(true, x, residual, gain, bias, eps, d, y);
    } else {
        norm_row(false, x, residual, gain, bias, eps, d, y);
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
}
#endif
