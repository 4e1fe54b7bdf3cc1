/* Products of encoders with 256-bit VNNI (client processors without AVX-512). */
#if defined(__x86_64__)
#include "tensor/kernels_x86.h"

/* One line of assembly each, as in kernels_enc_avx512.c. */
#define DOT8(acc, x, w) __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(x), "x"(w))
#define DOT16(acc, x, w) __asm__("%{vex%} vpdpwssd %2, %1, %0" : "+x"(acc) : "x"(x), "x"(w))
#include "tensor/kernels_enc_256.h"

void kernels_fill_avxvnni_enc(struct kernels *k)
{
    k->enc.mul = mul;
    k->enc.quant = quant;
}
#endif
