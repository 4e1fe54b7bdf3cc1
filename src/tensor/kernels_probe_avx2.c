/* What AVX2 can do at most: see probe.h. */
#if defined(__x86_64__)
#include "tensor/kernels_x86.h"

#include <immintrin.h>
#include <string.h>

enum { READ_AHEAD = 16384 }; /* bytes; see kernels_probe_avx512.c */

static uint32_t add_lanes(__m256i v)
{
    uint32_t lanes[8], sum = 0;
    memcpy(lanes, &v, sizeof lanes);
    for (int i = 0; i < 8; i++) {
        sum += lanes[i];
    }
    return sum;
}

static __m256i load(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

static uint32_t read_words(const uint8_t *p, size_t n)
{
    __m256i s[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                    _mm256_setzero_si256()};
    size_t i = 0;
    for (; i + 128 <= n; i += 128) {
        _mm_prefetch((const char *)p + i + READ_AHEAD, _MM_HINT_T1);
        _mm_prefetch((const char *)p + i + READ_AHEAD + 64, _MM_HINT_T1);
#pragma GCC unroll 4
        for (size_t j = 0; j < 4; j++) {
            s[j] = _mm256_add_epi32(s[j], load(p + i + 32 * j));
        }
    }
    for (; i < n; i += 32) {
        s[0] = _mm256_add_epi32(s[0], load(p + i));
    }
    return add_lanes(_mm256_add_epi32(_mm256_add_epi32(s[0], s[1]), _mm256_add_epi32(s[2], s[3])));
}

/* Weights of 4 bits: eight products of bytes in pairs are added up in 16 bits before those go to 32
 * bits in pairs, 17 operations for 256 products (kernels_mul_avx2.c). Of operands beyond 15 the
 * sums in 16 bits would be wrong, not slower. */
static uint64_t int_products(size_t rounds, const int8_t *operands, uint32_t *sum)
{
    enum { CHAINS = 4, QUADS = 8 };
    const __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)operands);
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i acc[CHAINS], words[CHAINS];
#pragma GCC unroll 4
    for (int c = 0; c < CHAINS; c++) {
        acc[c] = _mm256_setzero_si256();
    }
    for (size_t r = 0; r < rounds; r++) {
#pragma GCC unroll 4
        for (int c = 0; c < CHAINS; c++) {
            __asm__ volatile("vpmaddubsw %1, %1, %0" : "=x"(words[c]) : "x"(x));
        }
#pragma GCC unroll 8
        for (int k = 1; k < QUADS; k++) {
#pragma GCC unroll 4
            for (int c = 0; c < CHAINS; c++) {
                __m256i pairs;
                __asm__ volatile("vpmaddubsw %1, %1, %0" : "=x"(pairs) : "x"(x));
                __asm__ volatile("vpaddw %1, %0, %0" : "+x"(words[c]) : "x"(pairs));
            }
        }
#pragma GCC unroll 4
        for (int c = 0; c < CHAINS; c++) {
            acc[c] = _mm256_add_epi32(acc[c], _mm256_madd_epi16(words[c], ones));
        }
    }
#pragma GCC unroll 4
    for (int c = 1; c < CHAINS; c++) {
        acc[0] = _mm256_add_epi32(acc[0], acc[c]);
    }
    *sum = add_lanes(acc[0]);
    return (uint64_t)2 * 32 * QUADS * CHAINS * rounds;
}

void kernels_fill_avx2_probe(struct kernels *k)
{
    k->read_words = read_words;
    k->int_products = int_products;
}
#endif
