/* What 256-bit VNNI can do at most: see probe.h. Reading is AVX2's. */
#if defined(__x86_64__)
#include "tensor/kernels_x86.h"

#include <immintrin.h>
#include <string.h>

static uint64_t int_products(size_t rounds, const int8_t *operands, uint32_t *sum)
{
    enum { CHAINS = 12 };
    __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)operands), acc[CHAINS];
#pragma GCC unroll 12
    for (int c = 0; c < CHAINS; c++) {
        acc[c] = _mm256_setzero_si256();
    }
    for (size_t r = 0; r < rounds; r++) {
#pragma GCC unroll 12
        for (int c = 0; c < CHAINS; c++) {
            __asm__("%{vex%} vpdpbusd %1, %1, %0" : "+x"(acc[c]) : "x"(x));
        }
    }
#pragma GCC unroll 12
    for (int c = 1; c < CHAINS; c++) {
        acc[0] = _mm256_add_epi32(acc[0], acc[c]);
    }
    uint32_t lanes[8];
    memcpy(lanes, &acc[0], sizeof lanes);
    *sum = 0;
    for (int i = 0; i < 8; i++) {
        *sum += lanes[i];
    }
    return 2 * 32 * CHAINS * (uint64_t)rounds;
}

void kernels_fill_avxvnni_probe(struct kernels *k)
{
    k->int_products = int_products;
}
#endif
