/* Attention and the KV cache with AVX2 and FMA: see kernels_attn.h. */
#if defined(__x86_64__)
#include <immintrin.h>

#define vi_dot(acc, a, b) ((acc) = _mm256_add_epi32(acc, _mm256_madd_epi16(a, b)))

#include "tensor/kernels_attn_256.h"

void kernels_fill_avx2_attn(struct kernels *k)
{
    fill_attn(k);
}
#endif
