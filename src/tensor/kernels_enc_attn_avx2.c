/* Attention of encoders with AVX2: the portable body, whose loops become vectors here, with the two
 * products by vpmaddwd: 32 queries in four registers, or 16 columns in two. */
#if defined(__x86_64__)
#include "tensor/kernels_x86.h"

#include <immintrin.h>
#include <string.h>

static void score(const int16_t *q, const int16_t *k, size_t pairs, int32_t *dot)
{
    __m256i acc[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        acc[i] = _mm256_setzero_si256();
    }
    for (size_t c = 0; c < pairs; c++, q += 2 * ENC_QUERIES, k += 2) {
        int32_t pair;
        memcpy(&pair, k, 4);
        const __m256i key = _mm256_set1_epi32(pair);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)(q + 16 * i));
            acc[i] = _mm256_add_epi32(acc[i], _mm256_madd_epi16(x, key));
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_si256((__m256i *)(void *)(dot + 8 * i), acc[i]);
    }
}

static void mix_columns(const int16_t *p, const int16_t *v, size_t row, size_t pairs, int32_t *acc)
{
    __m256i low = _mm256_setzero_si256(), high = low;
    for (size_t j = 0; j < pairs; j++, p += 2 * ENC_QUERIES, v += row) {
        int32_t pair;
        memcpy(&pair, p, 4);
        const __m256i weights = _mm256_set1_epi32(pair);
        const __m256i *x = (const __m256i *)(const void *)v;
        low = _mm256_add_epi32(low, _mm256_madd_epi16(_mm256_loadu_si256(x), weights));
        high = _mm256_add_epi32(high, _mm256_madd_epi16(_mm256_loadu_si256(x + 1), weights));
    }
    _mm256_storeu_si256((__m256i *)(void *)acc, low);
    _mm256_storeu_si256((__m256i *)(void *)(acc + 8), high);
}

#define SCORE score
#define MIX mix_columns
#include "tensor/kernels_enc_attn.h"

void kernels_fill_avx2_enc_attn(struct kernels *k)
{
    k->enc.attend = attend;
}
#endif
