/* Attention and the KV cache with AVX2 and AVX-VNNI: see kernels_attn.h. */
#if defined(__x86_64__)
#include <immintrin.h>

#define vi_dot(acc, a, b) __asm__("%{vex%} vpdpwssd %2, %1, %0" : "+x"(acc) : "x"(a), "x"(b))

#include "tensor/kernels_attn_256.h"

void kernels_fill_avxvnni_attn(struct kernels *k)
{
    fill_attn(k);
}
#endif
