/* Products of packed integers with 256-bit VNNI (client processors without AVX-512). */
#if defined(__x86_64__)
#include "tensor/kernels_x86.h"
#include "tensor/pack.h"

#define WIDE_OFFSET 128
/* One line of assembly each, as in kernels_mul_avx512.c. */
#define DOT_SMALL(acc, w, x) __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(w), "x"(x))
#define DOT_WIDE DOT_SMALL
#define DOT_WORDS(acc, w, x) __asm__("%{vex%} vpdpwssd %2, %1, %0" : "+x"(acc) : "x"(w), "x"(x))

#include "tensor/kernels_mul_256.h"

void kernels_fill_avxvnni_mul(struct kernels *k)
{
    k->mul_few = mul_few;
    k->unpack = unpack;
    k->mul8 = mul8;
    k->mul16 = mul16;
}
#endif
