/* What 512-bit registers can do at most: see probe.h. */
#if defined(__x86_64__)
#include "tensor/kernels_x86.h"

#include <immintrin.h>

/* Bytes that the second-level cache is asked for ahead of the sums. On an Emerald Rapids core any
 * prefetch 4 to 16 KB ahead, into the first level or the second, gives 25 to 27 GB/s out of the
 * third level for 17 without one, and all read 14 to 17 GB/s from memory; prefetchnta gives 3. */
enum { READ_AHEAD = 16384 };

/* The reduction of immintrin.h adds signed lanes, where these wrap around. */
static uint32_t add_lanes(__m512i v)
{
    uint32_t lane[16], sum = 0;
    _mm512_storeu_si512(lane, v);
    for (int i = 0; i < 16; i++) {
        sum += lane[i];
    }
    return sum;
}

/* Four sums hide the additions. */
static uint32_t read_words(const uint8_t *p, size_t n)
{
    __m512i s[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                    _mm512_setzero_si512()};
    size_t i = 0;
    for (; i + 256 <= n; i += 256) {
#pragma GCC unroll 4
        for (size_t j = 0; j < 4; j++) {
            _mm_prefetch((const char *)p + i + 64 * j + READ_AHEAD, _MM_HINT_T1);
            s[j] = _mm512_add_epi32(s[j], _mm512_loadu_si512(p + i + 64 * j));
        }
    }
    for (; i < n; i += 64) {
        s[0] = _mm512_add_epi32(s[0], _mm512_loadu_si512(p + i));
    }
    s[0] = _mm512_add_epi32(_mm512_add_epi32(s[0], s[1]), _mm512_add_epi32(s[2], s[3]));
    return add_lanes(s[0]);
}

/* vpdpbusd takes five cycles, two begin in each: 16 chains are enough. */
static uint64_t int_products(size_t rounds, const int8_t *operands, uint32_t *sum)
{
    enum { CHAINS = 16 };
    __m512i x = _mm512_loadu_si512(operands), acc[CHAINS];
#pragma GCC unroll 16
    for (int c = 0; c < CHAINS; c++) {
        acc[c] = _mm512_setzero_si512();
    }
    for (size_t r = 0; r < rounds; r++) {
#pragma GCC unroll 16
        for (int c = 0; c < CHAINS; c++) {
            __asm__("vpdpbusd %1, %1, %0" : "+v"(acc[c]) : "v"(x));
        }
    }
#pragma GCC unroll 16
    for (int c = 1; c < CHAINS; c++) {
        acc[0] = _mm512_add_epi32(acc[0], acc[c]);
    }
    *sum = add_lanes(acc[0]);
    return 2 * 64 * CHAINS * (uint64_t)rounds;
}

void kernels_fill_avx512_probe(struct kernels *k)
{
    k->read_words = read_words;
    k->int_products = int_products;
}
#endif
