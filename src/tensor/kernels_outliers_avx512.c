/* Outliers with AVX-512: see kernels_outliers.h. */
#if defined(__x86_64__)
#include "tensor/kernels_x86.h"
#include "tensor/kernels_outliers.h"

#include <immintrin.h>

static void take_outliers(float *x, size_t n, struct outliers *out)
{
    const __mmask16 tail = (__mmask16)((1u << n % 16) - 1);
    const size_t whole = n & ~(size_t)15;
    __m512 v = _mm512_maskz_loadu_ps(tail, x + whole), sums = _mm512_setzero_ps();
    float lanes[16];
    for (size_t i = 0; i < whole; i += 16) {
        const __m512 a = _mm512_loadu_ps(x + i);
        sums = _mm512_add_ps(sums, _mm512_mul_ps(a, a));
    }
    v = _mm512_mul_ps(v, v);
    sums = _mm512_add_ps(sums, v);
    _mm512_storeu_ps(lanes, sums);
    for (size_t half = 8; half; half /= 2) {
        for (size_t i = 0; i < half; i++) {
            lanes[i] += lanes[i + half];
        }
    }
    const __m512 limit = _mm512_set1_ps(lanes[0] * ((float)(OUTLIER * OUTLIER) / (float)n));
    outliers_clear(out);
    for (size_t i = 0; i < whole; i += 16) {
        const __m512 a = _mm512_loadu_ps(x + i);
        const __mmask16 over = _mm512_cmp_ps_mask(_mm512_mul_ps(a, a), limit, _CMP_GT_OQ);
        if (over) {
            take_some(x, i, over, out);
        }
    }
    take_some(x, whole, _mm512_mask_cmp_ps_mask(tail, v, limit, _CMP_GT_OQ), out);
}

void kernels_fill_avx512_outliers(struct kernels *k)
{
    k->take_outliers = take_outliers;
    k->column = column;
    k->add_outliers = add_outliers;
}
#endif
