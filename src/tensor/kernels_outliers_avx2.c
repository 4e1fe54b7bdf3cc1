/* Outliers with AVX2: see kernels_outliers.h. */
#if defined(__x86_64__)
#include "tensor/kernels_x86.h"
#include "tensor/kernels_outliers.h"

#include <immintrin.h>

static void take_outliers(float *x, size_t n, struct outliers *out)
{
    const size_t whole = n & ~(size_t)15;
    __m256 low = _mm256_setzero_ps(), high = low;
    float lanes[16];
    for (size_t i = 0; i < whole; i += 16) {
        const __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + i + 8);
        low = _mm256_add_ps(low, _mm256_mul_ps(a, a));
        high = _mm256_add_ps(high, _mm256_mul_ps(b, b));
    }
    _mm256_storeu_ps(lanes, low);
    _mm256_storeu_ps(lanes + 8, high);
    for (size_t i = whole; i < n; i++) {
        lanes[i - whole] += x[i] * x[i];
    }
    for (size_t half = 8; half; half /= 2) {
        for (size_t i = 0; i < half; i++) {
            lanes[i] += lanes[i + half];
        }
    }
    const float most = lanes[0] * ((float)(OUTLIER * OUTLIER) / (float)n);
    const __m256 limit = _mm256_set1_ps(most);
    outliers_clear(out);
    for (size_t i = 0; i < whole; i += 8) {
        const __m256 a = _mm256_loadu_ps(x + i);
        const int over = _mm256_movemask_ps(_mm256_cmp_ps(_mm256_mul_ps(a, a), limit, _CMP_GT_OQ));
        if (over) {
            take_some(x, i, (uint32_t)over, out);
        }
    }
    for (size_t i = whole; i < n; i++) {
        take_some(x, i, x[i] * x[i] > most, out);
    }
}

void kernels_fill_avx2_outliers(struct kernels *k)
{
    k->take_outliers = take_outliers;
    k->column = column;
    k->add_outliers = add_outliers;
}
#endif
