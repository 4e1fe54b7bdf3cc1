/* Products of encoders with AVX2. vpmaddubsw adds two products and would saturate, so even and odd
 * columns are multiplied apart: 8 bits are here for the same results, not for speed. */
#if defined(__x86_64__)
#include "tensor/kernels_x86.h"

#include <immintrin.h>

static inline __m256i dot8(__m256i x, __m256i w)
{
    const __m256i even = _mm256_set1_epi16(0xff), ones = _mm256_set1_epi16(1);
    __m256i a = _mm256_maddubs_epi16(_mm256_and_si256(x, even), w);
    __m256i b = _mm256_maddubs_epi16(_mm256_andnot_si256(even, x), w);
    return _mm256_add_epi32(_mm256_madd_epi16(a, ones), _mm256_madd_epi16(b, ones));
}

/* acc += sums, which stays where it is: see kernels_enc_256.h. */
#define ADD(acc, sums) __asm__("vpaddd %1, %0, %0" : "+x"(acc) : "x"(sums))
#define DOT8(acc, x, w) ADD(acc, dot8(x, w))
#define DOT16(acc, x, w) ADD(acc, _mm256_madd_epi16(x, w))
#include "tensor/kernels_enc_256.h"

void kernels_fill_avx2_enc(struct kernels *k)
{
    k->enc.mul = mul;
    k->enc.quant = quant;
}
#endif
