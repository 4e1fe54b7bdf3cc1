/* Products of packed integers with 256-bit VNNI (client processors without AVX-512). */
#if defined(__x86_64__)
#include "tensor/kernels_x86.h"

enum { WIDE_OFFSET = 128, WIDE_BYTES = 1, READY_OWN = false, TILE_TOKENS = 4 };
#include "tensor/kernels_packed_256.h"

/* One line of assembly each, as in kernels_mul_avx512.c. */
#define DPBUSD(acc, w, x) \
    __asm__ volatile("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(w), "x"(x))
#define DOT_WORDS(acc, w, x) __asm__("%{vex%} vpdpwssd %2, %1, %0" : "+x"(acc) : "x"(w), "x"(x))

/* Dot products of a group from quad k0 on, or of a half: dots[side][token], from their starts.
 * Quads of x are `stride` bytes apart. */
INLINE void half_dots(const int NT, const struct packed f, const uint8_t *values, const int k0,
                      const int8_t *q, size_t stride, const int32_t *init,
                      __m256i dots[2][TILE_TOKENS])
{
    const int end = k0 + 8 / f.halves;
#pragma GCC unroll 4
    for (int t = 0; t < NT; t++) {
        dots[0][t] = dots[1][t] = broadcast(init + t);
    }
#pragma GCC unroll 8
    for (int k = k0; k < end; k++) {
        const __m256i w0 = load_quad(f, values, k, 0), w1 = load_quad(f, values, k, 1);
#pragma GCC unroll 4
        for (int t = 0; t < NT; t++) {
            const __m256i v = broadcast(q + (size_t)k * stride + 4 * t);
            DPBUSD(dots[0][t], w0, v);
            DPBUSD(dots[1][t], w1, v);
        }
    }
}

/* Every form is ready as v + 128. */
INLINE int ready_bits(const struct packed f)
{
    (void)f;
    return 8;
}
#define EACH_READY(X)     \
    X(plain, 8, 1, false) \
    X(min, 8, 1, true)    \
    X(half, 8, 2, false)  \
    X(half_min, 8, 2, true)

#include "tensor/kernels_mul_256.h"

void kernels_fill_avxvnni_mul(struct kernels *k)
{
    k->mul_few = mul_few;
    k->unpack = unpack;
    k->wide_bytes = WIDE_BYTES;
    k->mul8 = mul8;
    k->mul16 = mul16;
}
#endif
