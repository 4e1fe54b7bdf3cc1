/* Rows and scans with AVX2, FMA and F16C: see kernels_rows.h. */
#if defined(__x86_64__)
#include "tensor/kernels_x86.h"

#include <immintrin.h>

typedef __m256 V;
enum { LANES = 8 };

#define v_set(f) _mm256_set1_ps(f)
#define v_load(p) _mm256_loadu_ps(p)
#define v_store(p, v) _mm256_storeu_ps(p, v)
#define v_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
#define v_max(a, b) _mm256_max_ps(a, b)
#define v_min(a, b) _mm256_min_ps(a, b)
#define v_round(a) _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)

static inline V v_exp2i(V n)
{
    __m256i bits = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(bits, 23));
}

static inline V v_positive(V x, V a, V b)
{
    return _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_GT_OQ));
}

#include "tensor/kernels_rows.h"

/* 16-bit products of sign-extended bytes: exact for every int8. */
static int32_t dot_i8(const int8_t *a, const int8_t *b, size_t n)
{
    __m256i sum = _mm256_setzero_si256();
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m256i x = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(a + i)));
        __m256i y = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(b + i)));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(x, y));
    }
    int32_t lanes[8], total = 0;
    memcpy(lanes, &sum, sizeof lanes);
    for (int j = 0; j < 8; j++) {
        total += lanes[j];
    }
    for (; i < n; i++) {
        total += a[i] * b[i];
    }
    return total;
}

static void scan_i8(const int8_t *query, const int8_t *rows, size_t n, size_t d, int32_t *out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = dot_i8(query, rows + i * d, d);
    }
}

void kernels_fill_avx2(struct kernels *k)
{
    fill_rows(k);
    k->dot_i8 = dot_i8;
    k->scan_i8 = scan_i8;
}
#endif
